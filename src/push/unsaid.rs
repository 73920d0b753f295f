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
    news: Option<News>,
}

impl<'a> Unsaid<'a> {
    pub fn new(announce: Announce<'a>, news: Option<News>) -> Self {
        Unsaid { announce, news }
    }

    /// What to announce of these changes of custom metadata.
    pub fn of(announce: Announce<'a>, changes: &MetadataChanges) -> Self {
        let changes_consents = changes.keys().any(|key| consent::is_consent(key)).then_some(Pushed::Consent);
        let changes_others = changes.keys().any(|key| !claim::is_ours(key)).then_some(Pushed::CustomMetadata);
        Unsaid::new(announce, changes_consents.or(changes_others).map(News::from))
    }

    /// Announces nothing: the request was not carried out.
    pub fn forget(mut self) {
        self.news = None;
    }
}

impl Drop for Unsaid<'_> {
    fn drop(&mut self) {
        if let Some(news) = self.news {
            (self.announce)(news);
        }
    }
}
