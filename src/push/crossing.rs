//! A removal that another PushSecret's take-over has crossed. This happens only if two processes
//! believe that they lead: one lets the property be taken, and the other removes it. Whoever took it
//! may have ended its reconcile already, and the process that removes can wake nobody in the other
//! one. So what was removed is put back.

use super::entry::{Access, Applier};
use super::step::Write;
use crate::domain::claim::{self, CustomMetadata, Owner};
use crate::domain::remote::{Entry, RemoteData};
use crate::feed::Pushed;
use crate::store::{StoreError, Written};

impl Applier<'_> {
    /// Puts back what a write removed from others, and wakes them. `before` is the entry as it was.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be put back.
    pub(super) async fn crossed(
        &self,
        access: &Access<'_>,
        before: &Entry,
        write: &Write,
        written: &Written,
    ) -> Result<(), StoreError> {
        let back = match put_back(before, write, &written.custom_metadata, self.me) {
            Some(data) => access.client.write(access.path, &data, written.version).await,
            None => Ok(written.clone()),
        };
        self.offers.crossed(self.me, &written.custom_metadata, write.sets.union(&write.drops));
        match back {
            Ok(back) if back.version != written.version => {
                (access.announce)(Pushed::Version(back.version, back.created).into());
                tracing::info!(push_secret = %self.me.object(), path = %access.path, version = back.version, "version written");
                Ok(())
            }
            // Any later writer has seen that it was gone.
            Ok(_) | Err(StoreError::CasMismatch { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// What a write left, with what it removed although others own it by now. None if it removed nothing
/// of others.
fn put_back(before: &Entry, write: &Write, metadata: &CustomMetadata, me: &Owner) -> Option<RemoteData> {
    let is_anothers = |property: &String| claim::owner(metadata, property).is_some_and(|owner| owner.uid != me.uid);
    let lost = |property: &String| write.drops.contains(property) && is_anothers(property);
    let lost: RemoteData = (before.data().into_iter().flatten())
        .filter(|(property, _)| lost(property))
        .map(|(property, value)| (property.clone(), value.duplicate()))
        .collect();
    let kept = || write.data.iter().map(|(property, value)| (property.clone(), value.duplicate()));
    (!lost.is_empty()).then(|| kept().chain(lost).collect())
}
