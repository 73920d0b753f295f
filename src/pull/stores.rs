//! Implements the port [`Stores`] of ExternalSecrets by the registry.

use std::sync::Arc;

use async_trait::async_trait;

use super::observe::{Opened, StoreProblem, Stores};
use crate::api::StoreRef;
use crate::api::condition::Reason;
use crate::store::registry::Registry;
use crate::store::{StoreName, StoreRefusal};

#[async_trait]
impl Stores for Arc<Registry> {
    async fn open(&self, namespace: &str, store: &StoreRef) -> Result<Opened, StoreProblem> {
        let name = StoreName::referred(namespace, store.kind(), store.name.as_deref().unwrap_or_default());
        let client = self.client(namespace, &name).await.map_err(problem)?;
        let mount = client.mount().map(str::to_owned);
        Ok(Opened { client, mount })
    }
}

fn problem(refusal: StoreRefusal) -> StoreProblem {
    let message = refusal.to_string();
    let reason = match refusal {
        StoreRefusal::OtherController { .. } => return StoreProblem::NotOurs,
        StoreRefusal::Failed(error) => return StoreProblem::Failed(error),
        StoreRefusal::NotFound { .. } => Reason::StoreNotFound,
        StoreRefusal::NotAllowed { .. } => Reason::NotPermitted,
        StoreRefusal::Unsupported { .. } | StoreRefusal::Invalid { .. } => Reason::StoreNotReady,
    };
    StoreProblem::Refused { reason, message }
}
