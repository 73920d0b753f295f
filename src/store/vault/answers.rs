//! What clients found out about their servers. A question is asked once for all who need the
//! answer, and they share a failure as well as a success. So a server that does not answer costs
//! them one timeout, and not one after another.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use moka::future::Cache;
use tokio::time::Instant;

use super::mounts::{self, Confirmed};
use super::reply::MountInfo;
use crate::domain::path::Mount;
use crate::store::StoreError;

/// How long an answer counts, and is kept of a closed client. A mount or a server that was created
/// again has another name: each client hears of it, also one that has missed no entry there.
const KEPT: Duration = Duration::from_secs(15 * 60);

/// The answers of all clients of the process; clones share them.
#[derive(Clone)]
pub struct Answers {
    servers: Cache<ClientNumber, Arc<str>>,
    mounts: Cache<(ClientNumber, Mount), Confirmed>,
    /// Questions about mounts whose answer must be newer than the question.
    looks: Cache<(ClientNumber, Mount), Confirmed>,
}

/// Identifies a client: another login may see other mounts.
type ClientNumber = u64;

impl Default for Answers {
    fn default() -> Self {
        Answers::kept_for(KEPT)
    }
}

impl Answers {
    fn kept_for(time: Duration) -> Self {
        Answers {
            servers: Cache::builder().time_to_live(time).build(),
            mounts: Cache::builder().time_to_live(time).build(),
            looks: Cache::builder().time_to_live(time).build(),
        }
    }
}

/// How recent an answer must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certainty {
    /// Confirmed at any time by this client.
    Known,
    /// Confirmed after the reply in question, because a missing entry is about to be believed.
    Fresh,
}

/// The answers of one client.
pub struct Known {
    client: ClientNumber,
    answers: Answers,
}

impl Known {
    /// Nothing is known yet.
    pub fn new(answers: Answers) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Known { client: NEXT.fetch_add(1, Ordering::Relaxed), answers }
    }

    /// Of another client, which has asked nothing yet.
    pub fn anew(&self) -> Self {
        Known::new(self.answers.clone())
    }

    /// The server's own name for itself.
    pub async fn server(
        &self,
        ask: impl Future<Output = Result<Arc<str>, StoreError>>,
    ) -> Result<Arc<str>, StoreError> {
        self.answers.servers.try_get_with(self.client, ask).await.map_err(Arc::unwrap_or_clone)
    }

    /// The mount. A caller that accepts a known answer does not wait for one that needs a fresh
    /// answer.
    pub async fn mount<F>(
        &self,
        mount: &Mount,
        certainty: Certainty,
        ask: impl Fn() -> F,
    ) -> Result<Confirmed, StoreError>
    where
        F: Future<Output = Result<MountInfo, StoreError>>,
    {
        let key = (self.client, mount.clone());
        let look = async || {
            let at = Instant::now();
            mounts::confirmed(mount, ask().await?, at)
        };
        let Answers { mounts, looks, .. } = &self.answers;
        match certainty {
            Certainty::Known => mounts.try_get_with(key, look()).await.map_err(Arc::unwrap_or_clone),
            Certainty::Fresh => {
                let asked = Instant::now();
                loop {
                    match looks.try_get_with(key.clone(), look()).await {
                        Ok(confirmed) if confirmed.at >= asked => {
                            mounts.insert(key, confirmed.clone()).await;
                            return Ok(confirmed);
                        }
                        // The answer is older than our question.
                        Ok(_older) => looks.invalidate(&key).await,
                        Err(error) => {
                            mounts.invalidate(&key).await;
                            return Err(Arc::unwrap_or_clone(error));
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use futures::future::join_all;
    use tokio::time::sleep;

    use super::*;

    const SLOW: Duration = Duration::from_secs(5);

    fn secret() -> Mount {
        Mount::parse("secret").unwrap()
    }

    fn info() -> MountInfo {
        let options = Some(std::collections::BTreeMap::from([("version".into(), "2".into())]));
        MountInfo { accessor: "kv_1".into(), path: "secret/".into(), engine: "kv".into(), options }
    }

    fn sealed() -> StoreError {
        StoreError::Sealed { server: "s".into() }
    }

    #[tokio::test(start_paused = true)]
    async fn all_who_ask_at_once_share_one_failure() {
        let known = Known::new(Answers::default());
        let (asked, began) = (AtomicUsize::new(0), Instant::now());
        let ask = || async {
            asked.fetch_add(1, Ordering::Relaxed);
            sleep(SLOW).await;
            Err(sealed())
        };
        let servers = join_all((0..50).map(|_| known.server(async { ask().await.map(|()| "s".into()) }))).await;
        let mount = secret();
        let mounts =
            join_all((0..50).map(|_| known.mount(&mount, Certainty::Known, || async { ask().await.map(|()| info()) })))
                .await;
        assert!(servers.iter().all(Result::is_err) && mounts.iter().all(Result::is_err));
        assert_eq!(asked.load(Ordering::Relaxed), 2, "one about the server, one about the mount");
        assert_eq!(began.elapsed(), SLOW * 2);
        assert!(known.server(async { Ok("s".into()) }).await.is_ok(), "a failure is not kept");
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_question_is_answered_anew_and_hinders_nobody_who_knows() {
        let known = Known::new(Answers::default());
        let (asked, mount) = (AtomicUsize::new(0), secret());
        let ask = || async {
            asked.fetch_add(1, Ordering::Relaxed);
            sleep(SLOW).await;
            Ok(info())
        };
        known.mount(&mount, Certainty::Known, ask).await.unwrap();
        let began = Instant::now();
        let late = async {
            sleep(SLOW / 2).await;
            known.mount(&mount, Certainty::Known, ask).await.unwrap();
            assert_eq!(began.elapsed(), SLOW / 2, "what is known is there");
            // The answer under way is older than this question.
            known.mount(&mount, Certainty::Fresh, ask).await.unwrap()
        };
        let (first, second) = tokio::join!(known.mount(&mount, Certainty::Fresh, ask), late);
        assert!(first.unwrap().at < second.at);
        assert_eq!(asked.load(Ordering::Relaxed), 3);
        let gone = || async { Err(StoreError::MountMissing { mount: "secret".into() }) };
        assert!(known.mount(&mount, Certainty::Fresh, gone).await.is_err());
        known.mount(&mount, Certainty::Known, ask).await.unwrap();
        assert_eq!(asked.load(Ordering::Relaxed), 4, "a mount that was not there is asked about again");
    }

    #[tokio::test]
    async fn what_was_created_again_is_known_by_its_new_name_although_it_is_asked_for_all_the_time() {
        let known = Known::new(Answers::kept_for(Duration::ZERO));
        let mount = secret();
        for name in ["kv_1", "kv_2"] {
            let again = || async { Ok(MountInfo { accessor: name.into(), ..info() }) };
            assert_eq!(&*known.mount(&mount, Certainty::Known, again).await.unwrap().accessor, name);
            assert_eq!(&*known.server(async { Ok(name.into()) }).await.unwrap(), name);
        }
    }

    #[tokio::test]
    async fn clients_know_nothing_of_each_other() {
        let answers = Answers::default();
        let [one, other] = [(); 2].map(|()| Known::new(answers.clone()));
        one.server(async { Ok("s".into()) }).await.unwrap();
        assert!(other.server(async { Err(sealed()) }).await.is_err());
    }
}
