//! `auth.appRole`: a role id and a secret id.

use async_trait::async_trait;

use super::{Application, Login, Method, text};
use crate::api::store_auth::AppRoleAuth;
use crate::cluster::Cluster;
use crate::domain::secret::SecretBytes;
use crate::store::fields::Fields;
use crate::store::keys::{self, KeyRef};
use crate::store::{StoreError, StoreRefusal};

/// A role id and a secret id.
#[derive(Debug)]
pub struct AppRole {
    mount: String,
    role_id: RoleId,
    secret_id: KeyRef,
}

/// The origin of the role id.
#[derive(Debug)]
enum RoleId {
    /// In the store's spec.
    Literal(String),
    /// In a Secret.
    Secret(KeyRef),
}

impl AppRole {
    /// Parses `auth.appRole`.
    pub fn parse(auth: &AppRoleAuth, fields: &mut Fields<'_>) -> Result<Self, StoreRefusal> {
        let role_id = match (&auth.role_id, &auth.role_ref) {
            (Some(literal), reference) => {
                fields.ignore(reference.is_some(), "auth.appRole.roleRef", "auth.appRole.roleId");
                RoleId::Literal(literal.clone())
            }
            (None, Some(reference)) => RoleId::Secret(fields.key(reference, "auth.appRole.roleRef", None)?),
            (None, None) => return Err(fields.invalid("`auth.appRole` needs `roleId` or `roleRef`")),
        };
        let secret_id = fields.key(&auth.secret_ref, "auth.appRole.secretRef", None)?;
        Ok(AppRole { mount: fields.auth_mount(auth.path())?, role_id, secret_id })
    }
}

#[async_trait]
impl Method for AppRole {
    fn keys(&self) -> Vec<&KeyRef> {
        match &self.role_id {
            RoleId::Literal(_) => vec![&self.secret_id],
            RoleId::Secret(role_id) => vec![role_id, &self.secret_id],
        }
    }

    async fn read(&self, cluster: &Cluster) -> Result<Login, StoreError> {
        let role_id = match &self.role_id {
            RoleId::Literal(literal) => SecretBytes::from(literal.as_str()),
            RoleId::Secret(key) => keys::read(cluster, key).await?,
        };
        let secret_id = keys::read(cluster, &self.secret_id).await?;
        Ok(Login::Application(Application {
            mount: self.mount.clone(),
            fields: vec![
                ("role_id", text(&role_id, &self.role_id.described())?),
                ("secret_id", text(&secret_id, &format!("the secret id in {}", self.secret_id.described()))?),
            ],
            applicant: "AppRole".to_owned(),
            advice: format!(
                "check the role id, that the secret id in {} is that role's and neither expired nor used up, and that the mount is right",
                self.secret_id.described()
            ),
        }))
    }
}

impl RoleId {
    fn described(&self) -> String {
        match self {
            RoleId::Literal(_) => "`auth.appRole.roleId`".to_owned(),
            RoleId::Secret(key) => format!("the role id in {}", key.described()),
        }
    }
}
