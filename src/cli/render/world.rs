//! Where the values of a run are from, and what is there now: files, or live servers.

use std::path::PathBuf;
use std::sync::Arc;

use kube::ResourceExt;

use super::holders;
use super::pull::Refused;
use super::samples::Samples;
use crate::api::{ExternalSecret, names};
use crate::cli::server::{NoClient, Server};
use crate::cluster::client::connect;
use crate::cluster::{Cluster, ClusterError};
use crate::config::ClusterChoice;
use crate::domain::description::{self, What};
use crate::domain::folder::RemoteFolder;
use crate::domain::path::RemotePath;
use crate::domain::remote::Entry;
use crate::domain::target::Live;
use crate::manifest::{Holder, Stores};
use crate::pull::desired::Desired;
use crate::store::vault::VaultClient;
use crate::store::{Detail, Entries, StoreClient, StoreError};

/// What a run has to look at.
pub struct World<'w> {
    pub stores: Stores,
    /// The Secrets and ConfigMaps among the files.
    pub holders: Vec<Holder<'w>>,
    /// The Secrets of `--target`, and the file's name.
    pub targets: Option<(PathBuf, Vec<Holder<'w>>)>,
    pub values: Values,
}

/// Where values are from.
pub enum Values {
    Samples(Samples),
    Live(Box<Servers>),
}

/// The servers of `--live`, with the caller's own rights.
pub struct Servers {
    vault: VaultClient,
    server: Server,
    /// Or why nothing of the cluster is seen.
    cluster: Result<Cluster, String>,
}

impl Servers {
    /// The server, and the cluster if there is one.
    ///
    /// # Errors
    /// [`NoClient`], without any part of the token.
    pub async fn connect(server: &Server, cluster: &ClusterChoice) -> Result<Self, NoClient> {
        let vault = server.client()?;
        let cluster = connect(cluster, Arc::default()).await;
        let cluster = cluster.map(Cluster::new).map_err(|error| error.to_string());
        Ok(Servers { vault, server: server.clone(), cluster })
    }

    /// The cluster.
    ///
    /// # Errors
    /// Why it is not seen.
    pub fn cluster(&self) -> Result<&Cluster, String> {
        self.cluster.as_ref().map_err(Clone::clone)
    }

    /// The namespace of an object whose manifest has none.
    pub fn namespace(&self) -> String {
        let of_context = self.cluster.as_ref().map(|cluster| cluster.client().default_namespace().to_owned());
        of_context.unwrap_or_else(|_no_cluster| "default".to_owned())
    }

    /// The data of a path, or its metadata as if that were its data.
    pub async fn entry(&self, path: &RemotePath, version: Option<u64>, what: What) -> Result<Entry, StoreError> {
        match what {
            What::Data => self.vault.read(path, version).await,
            What::Metadata => self.vault.describe(path).await.map(|entry| description::of(&entry)),
        }
    }

    /// What is below a folder.
    pub async fn entries(&self, folder: &RemoteFolder, detail: Detail) -> Result<Entries, StoreError> {
        self.vault.list(folder, detail).await
    }

    /// An error in the words of the command.
    pub fn in_its_words(&self, error: &StoreError) -> String {
        self.server.in_its_words(error)
    }

    /// The UID of an ExternalSecret, which its target names; none if it is not there yet, or unseen.
    pub async fn uid(&self, namespace: &str, name: &str) -> Option<String> {
        let object = self.cluster.as_ref().ok()?.raw::<ExternalSecret>(namespace, name).await;
        object.ok()??.uid()
    }

    /// The target as it is; or why it is not seen.
    pub async fn target(&self, desired: &Desired) -> Result<Option<Live>, String> {
        let (cluster, manager) = (self.cluster()?, names::target_manager(&desired.name));
        cluster.target(&desired.namespace, &desired.target, &manager).await.map_err(|error| said(&error))
    }
}

impl World<'_> {
    /// The target of `--target` of this name. It counts as ours, whoever its owner is there.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn target_in_file(&self, desired: &Desired) -> Option<Result<Option<Live>, Refused>> {
        let (_, targets) = self.targets.as_ref()?;
        let found = targets.iter().find(|holder| holders::is(holder, "Secret", &desired.namespace, &desired.target));
        Some(found.map(|holder| holders::live(holder, desired)).transpose())
    }
}

/// An error of the cluster, with what to do.
pub fn said(error: &ClusterError) -> String {
    error.advice().map_or_else(|| error.to_string(), |advice| format!("{error}; {advice}"))
}
