//! Secrets as operators write them, with passwords made for this run.

use std::{collections::BTreeMap, fmt::Write, fs::File, io::Read};

use anyhow::Context;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
};

use crate::lab::repository;

/// The field manager that stands for the operators.
const OPERATOR: &str = "database-operator";

/// The key whose value is made for this run.
pub(super) const PASSWORD: &str = "password";

/// A sample of `examples/gitops/samples`.
pub(super) struct Source {
    sample: Secret,
}

impl Source {
    pub(super) fn sample(file: &str) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(repository().join(file)).with_context(|| format!("read {file}"))?;
        let mut sample: Secret = serde_saphyr::from_str(&text).ok().with_context(|| format!("{file} is no Secret"))?;
        let text = sample.string_data.take().unwrap_or_default();
        sample.data = Some(text.into_iter().map(|(key, value)| (key, ByteString(value.into_bytes()))).collect());
        Ok(Source { sample })
    }

    pub(super) fn namespace(&self) -> &str {
        self.sample.metadata.namespace.as_deref().unwrap_or_default()
    }

    pub(super) fn name(&self) -> &str {
        self.sample.metadata.name.as_deref().unwrap_or_default()
    }

    /// Writes the Secret with this password, if it is one that has a password.
    pub(super) async fn write(&self, client: &Client, password: &str) -> anyhow::Result<()> {
        let mut secret = self.sample.clone();
        let data = secret.data.get_or_insert_with(BTreeMap::new);
        if let Some(value) = data.get_mut(PASSWORD) {
            *value = ByteString(password.as_bytes().to_vec());
        }
        let secrets: Api<Secret> = Api::namespaced(client.clone(), self.namespace());
        let written = secrets.patch(self.name(), &PatchParams::apply(OPERATOR).force(), &Patch::Apply(&secret)).await;
        written.with_context(|| format!("write Secret {}/{}", self.namespace(), self.sample.name_any())).map(drop)
    }
}

/// A new password that begins with `canary`.
pub(super) fn generated(canary: &str) -> anyhow::Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)).context("make a password")?;
    let mut password = canary.to_owned();
    bytes.iter().try_for_each(|byte| write!(password, "{byte:02x}")).context("write a password")?;
    Ok(password)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_begin_with_the_canary_and_differ() {
        let [one, other] = [generated("canary").unwrap(), generated("canary").unwrap()];
        assert!(one.starts_with("canary") && other.starts_with("canary"));
        assert_ne!(one, other);
    }
}
