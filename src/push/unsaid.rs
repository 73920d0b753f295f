//! News that waits for the reply to a request. When the reply comes, nobody may be waiting any more:
//! another store is done, or a deadline is over. So whatever ends the wait announces the news.

use crate::domain::claim::{self, MetadataChanges};
use crate::domain::consent;
use crate::feed::{News, Pushed};

/// Announces news to the feed.
pub type Announce<'a> = &'a (dyn Fn(News) + Send + Sync);

/// News to announce once a request was carried out, or may have been. A needless announcement costs a
/// read. One that is missing is not made up for: the next try finds the change made.
pub struct Unsaid<'a> {
    announce: Announce<'a>,
    news: Vec<News>,
}

impl<'a> Unsaid<'a> {
    pub fn new(announce: Announce<'a>, news: impl IntoIterator<Item = News>) -> Self {
        Unsaid { announce, news: news.into_iter().collect() }
    }

    /// What to announce of these changes of custom metadata. One request may change consents, which
    /// concern whoever reads the entry, and other keys, which concern whoever finds it by them.
    pub fn of(announce: Announce<'a>, changes: &MetadataChanges) -> Self {
        let changes_consents = changes.keys().any(|key| consent::is_consent(key)).then_some(Pushed::Consent);
        let changes_others = changes.keys().any(|key| !claim::is_ours(key)).then_some(Pushed::CustomMetadata);
        Unsaid::new(announce, changes_consents.into_iter().chain(changes_others).map(News::from))
    }

    /// Announces nothing: the request was not carried out.
    pub fn forget(mut self) {
        self.news.clear();
    }
}

impl Drop for Unsaid<'_> {
    fn drop(&mut self) {
        self.news.drain(..).for_each(self.announce);
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;

    #[test]
    fn one_request_may_be_news_of_two_kinds() {
        let said = Mutex::new(Vec::new());
        let announce = |news| said.lock().push(news);
        let changes = |keys: &[String]| keys.iter().map(|key| (key.clone(), Some("x".to_owned()))).collect();
        let (consent, team) = (consent::key("password"), "team".to_owned());
        drop(Unsaid::of(&announce, &changes(&[consent.clone(), team.clone()])));
        drop(Unsaid::of(&announce, &changes(&[team])));
        drop(Unsaid::of(&announce, &changes(&[claim::claim_key("password")])));
        Unsaid::of(&announce, &changes(&[consent])).forget();
        let (permits, others) = (News::Pushed(Pushed::Consent), News::Pushed(Pushed::CustomMetadata));
        assert_eq!(*said.lock(), [permits, others, others]);
    }
}
