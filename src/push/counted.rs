//! A client of a store whose answers are noted: how far a chain of requests is, and whether the store
//! still answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use super::patience::Progress;
use crate::api::store_location::StoreLocation;
use crate::domain::folder::RemoteFolder;
use crate::domain::path::RemotePath;
use crate::domain::remote::{Entry, RemoteData};
use crate::store::{
    Detail, Entries, Exchange, Head, Heads, Identity, Metadata, PathKey, StoreClient, StoreError, Written,
};

/// The client, and what its answers are noted in.
pub struct Counted<'a> {
    pub client: &'a dyn StoreClient,
    pub progress: &'a Progress,
}

impl Counted<'_> {
    async fn noted<T>(&self, request: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let reply = request.await;
        self.progress.note(&reply);
        reply
    }
}

#[async_trait]
impl StoreClient for Counted<'_> {
    fn identity(&self) -> &Identity {
        self.client.identity()
    }

    fn mount(&self) -> Option<&str> {
        self.client.mount()
    }

    fn location(&self) -> StoreLocation {
        self.client.location()
    }

    fn elsewhere(&self, location: &StoreLocation) -> Option<Arc<dyn StoreClient>> {
        self.client.elsewhere(location)
    }

    async fn path_key(&self, path: &RemotePath) -> Result<PathKey, StoreError> {
        self.noted(self.client.path_key(path)).await
    }

    async fn read(&self, path: &RemotePath, version: Option<u64>) -> Result<Entry, StoreError> {
        self.noted(self.client.read(path, version)).await
    }

    async fn read_to_write(&self, path: &RemotePath) -> Result<Entry, StoreError> {
        self.noted(self.client.read_to_write(path)).await
    }

    async fn head(&self, path: &RemotePath) -> Result<Head, StoreError> {
        self.noted(self.client.head(path)).await
    }

    async fn heads(&self, folder: &RemotePath, limit: usize) -> Result<Heads, StoreError> {
        self.noted(self.client.heads(folder, limit)).await
    }

    async fn list(&self, folder: &RemoteFolder, detail: Detail) -> Result<Entries, StoreError> {
        self.noted(self.client.list(folder, detail)).await
    }

    async fn create_entry(&self, path: &RemotePath) -> Result<(), StoreError> {
        self.noted(self.client.create_entry(path)).await
    }

    async fn patch_metadata(
        &self,
        path: &RemotePath,
        changes: &BTreeMap<String, Option<String>>,
    ) -> Result<(), StoreError> {
        self.noted(self.client.patch_metadata(path, changes)).await
    }

    async fn exchange_metadata(
        &self,
        path: &RemotePath,
        seen: &Entry,
        changes: &BTreeMap<String, Option<String>>,
    ) -> Result<Exchange, StoreError> {
        self.noted(self.client.exchange_metadata(path, seen, changes)).await
    }

    async fn write(&self, path: &RemotePath, data: &RemoteData, cas: u64) -> Result<Written, StoreError> {
        self.noted(self.client.write(path, data, cas)).await
    }

    async fn delete_versions(&self, path: &RemotePath, versions: &[u64]) -> Result<(), StoreError> {
        self.noted(self.client.delete_versions(path, versions)).await
    }

    async fn destroy_versions(&self, path: &RemotePath, versions: &[u64]) -> Result<(), StoreError> {
        self.noted(self.client.destroy_versions(path, versions)).await
    }

    async fn metadata(&self, path: &RemotePath) -> Result<Option<Metadata>, StoreError> {
        self.noted(self.client.metadata(path)).await
    }

    async fn describe(&self, path: &RemotePath) -> Result<Entry, StoreError> {
        self.noted(self.client.describe(path)).await
    }

    async fn purge(&self, path: &RemotePath) -> Result<(), StoreError> {
        self.noted(self.client.purge(path)).await
    }
}
