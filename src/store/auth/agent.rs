//! No login: the server needs no token, or an agent in front of it adds one.

use async_trait::async_trait;

use super::{Login, Method};
use crate::cluster::Cluster;
use crate::store::StoreError;
use crate::store::keys::KeyRef;

/// No login.
#[derive(Debug)]
pub struct Agent;

#[async_trait]
impl Method for Agent {
    fn keys(&self) -> Vec<&KeyRef> {
        Vec::new()
    }

    async fn read(&self, _cluster: &Cluster) -> Result<Login, StoreError> {
        Ok(Login::Agent)
    }
}
