//! What clients found out about their servers. A question is asked once for all who need the
//! answer, and they share a failure as well as a success. So a server that does not answer costs
//! them one timeout, and not one after another.

use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use moka::future::Cache;
use tokio::time::Instant;

use super::mounts::{self, Confirmed};
use super::reply::MountInfo;
use crate::domain::path::Mount;
use crate::store::StoreError;

/// How long an answer is kept, also of a closed client.
const KEPT: Duration = Duration::from_secs(2 * 3600);
/// How many answers to one question are kept. A store without `path` may name mounts without end;
/// what is dropped is asked for again.
const MOST_KEPT: u64 = 50_000;
/// How old the name of a mount may be that places are told by. A mount that was created again has
/// another name, which each client has to learn, also one whose reads have all succeeded.
const RECENT: Duration = Duration::from_secs(15 * 60);

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
        Answers { servers: cache(), mounts: cache(), looks: cache() }
    }
}

fn cache<K: Eq + Hash + Send + Sync + 'static, V: Clone + Send + Sync + 'static>() -> Cache<K, V> {
    Cache::builder().time_to_live(KEPT).max_capacity(MOST_KEPT).build()
}

/// How recent an answer must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certainty {
    /// Confirmed by this client, as long as it is kept.
    Known,
    /// Confirmed not long ago.
    Recent,
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
        if certainty != Certainty::Fresh {
            let known = mounts.try_get_with(key.clone(), look()).await.map_err(Arc::unwrap_or_clone)?;
            if certainty == Certainty::Known || known.at.elapsed() < RECENT {
                return Ok(known);
            }
        }
        let now = Instant::now();
        let asked = if certainty == Certainty::Recent { now.checked_sub(RECENT).unwrap_or(now) } else { now };
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

    #[tokio::test(start_paused = true)]
    async fn places_are_told_by_the_new_name_of_a_mount_that_was_created_again() {
        let (known, mount) = (Known::new(Answers::default()), secret());
        let named = async |name: &'static str, certainty| {
            let ask = || async { Ok(MountInfo { accessor: name.into(), ..info() }) };
            known.mount(&mount, certainty, ask).await.unwrap().accessor
        };
        assert_eq!(&*named("kv_1", Certainty::Recent).await, "kv_1");
        assert_eq!(&*named("kv_2", Certainty::Recent).await, "kv_1", "it was asked for just now");
        tokio::time::advance(RECENT).await;
        assert_eq!(&*named("kv_2", Certainty::Known).await, "kv_1", "a check costs one request");
        assert_eq!(&*named("kv_2", Certainty::Recent).await, "kv_2");
        assert_eq!(&*named("kv_3", Certainty::Known).await, "kv_2");
    }

    #[tokio::test]
    async fn no_number_of_answers_is_kept_beyond_a_bound() {
        let Answers { servers, mounts, looks } = Answers::default();
        let bounds = [servers.policy(), mounts.policy(), looks.policy()].map(|policy| policy.max_capacity());
        assert_eq!(bounds, [Some(MOST_KEPT); 3]);
    }

    #[tokio::test]
    async fn clients_know_nothing_of_each_other() {
        let answers = Answers::default();
        let [one, other] = [(); 2].map(|()| Known::new(answers.clone()));
        one.server(async { Ok("s".into()) }).await.unwrap();
        assert!(other.server(async { Err(sealed()) }).await.is_err());
    }
}
