//! `auth.tokenSecretRef`: a token that somebody else created and put into a Secret.

use async_trait::async_trait;

use super::{Login, Method};
use crate::api::selector::SecretKeySelector;
use crate::cluster::Cluster;
use crate::store::fields::Fields;
use crate::store::keys::{self, KeyRef};
use crate::store::{StoreError, StoreRefusal};

/// A token in a Secret.
#[derive(Debug)]
pub struct Token {
    key: KeyRef,
}

impl Token {
    /// Parses `auth.tokenSecretRef`.
    pub fn parse(selector: &SecretKeySelector, fields: &mut Fields<'_>) -> Result<Self, StoreRefusal> {
        Ok(Token { key: fields.key(selector, "auth.tokenSecretRef", Some("token"))? })
    }
}

#[async_trait]
impl Method for Token {
    fn keys(&self) -> Vec<&KeyRef> {
        vec![&self.key]
    }

    async fn read(&self, cluster: &Cluster) -> Result<Login, StoreError> {
        let token = keys::read(cluster, &self.key).await?;
        Ok(Login::Token { token, source_name: self.key.described() })
    }
}
