//! `LAB=existing`: servers that somebody else runs, used because the user said so by name.

use std::{
    env,
    path::{Path, PathBuf},
    sync::atomic::AtomicU32,
};

use anyhow::{Context, bail};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use kube::config::{KubeConfigOptions, Kubeconfig};

use super::{
    ClusterAccess, Lab, VaultAccess,
    folder::{StateFolder, Storage},
};
use crate::provision::Programs;

/// What the `LAB_*` variables say.
pub(super) struct Access {
    kubeconfig: PathBuf,
    vault: VaultAccess,
}

/// Reads the variables; `None` without `LAB`.
pub(super) fn asked_for() -> anyhow::Result<Option<Access>> {
    match env::var("LAB").as_deref() {
        Err(_) | Ok("") => return Ok(None),
        Ok("existing") => {}
        Ok(other) => bail!("LAB is {other:?}; `existing` uses a cluster that is there, unset starts one"),
    }
    let required = |name: &str| env::var(name).with_context(|| format!("LAB=existing needs {name}"));
    let ca_pem = match env::var("LAB_VAULT_CACERT") {
        Ok(path) => Some(std::fs::read_to_string(&path).with_context(|| format!("read LAB_VAULT_CACERT {path}"))?),
        Err(_) => None,
    };
    Ok(Some(Access {
        kubeconfig: required("LAB_KUBECONFIG")?.into(),
        vault: VaultAccess { address: required("LAB_VAULT_ADDR")?, ca_pem, token: required("LAB_VAULT_TOKEN")? },
    }))
}

/// A lab of servers that another process runs.
pub(super) async fn use_servers(
    kubeconfig: &Path,
    address: &str,
    ca_pem: Option<String>,
    token: String,
) -> anyhow::Result<Lab> {
    let vault = VaultAccess { address: address.to_owned(), ca_pem, token };
    let access = Access { kubeconfig: kubeconfig.to_owned(), vault };
    attach(access, Programs::provision()?, StateFolder::unnamed(Storage::Disk)?).await
}

/// A lab without servers of its own. Mount `secret/` and Kubernetes auth are expected to be there.
pub(super) async fn attach(access: Access, programs: Programs, folder: StateFolder) -> anyhow::Result<Lab> {
    let path = access.kubeconfig;
    let kubeconfig = Kubeconfig::read_from(&path).with_context(|| format!("read kubeconfig {}", path.display()))?;
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .with_context(|| format!("use kubeconfig {}", path.display()))?;
    let authorities = config.root_cert.unwrap_or_default();
    Ok(Lab {
        servers: None,
        cluster: ClusterAccess {
            url: config.cluster_url.to_string().trim_end_matches('/').to_owned(),
            ca_pem: authorities.iter().map(|der| pem(der)).collect(),
            admin_kubeconfig: path,
        },
        vault: access.vault,
        programs,
        next: AtomicU32::new(0),
        folder,
    })
}

fn pem(der: &[u8]) -> String {
    let text = BASE64.encode(der);
    let lines: Vec<_> = (0..text.len()).step_by(64).map(|start| &text[start..text.len().min(start + 64)]).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}
