//! The ClusterSecretStore of the framework, as tests, benchmarks and adapted examples apply it.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{CONTROLLER_ACCOUNT, MOUNT};

/// The manifest of a ClusterSecretStore that logs in to a server as the controller does: Kubernetes
/// auth, without a stored token.
pub fn cluster_secret_store(name: &str, server: &str, ca_pem: Option<&str>) -> Value {
    let [namespace, account] = CONTROLLER_ACCOUNT;
    let mut store = json!({
        "apiVersion": "external-secrets.io/v1",
        "kind": "ClusterSecretStore",
        "metadata": { "name": name },
        "spec": { "provider": { "vault": {
            "path": MOUNT,
            "version": "v2",
            "auth": { "kubernetes": {
                "mountPath": "kubernetes",
                "role": "external-secrets",
                "serviceAccountRef": { "name": account, "namespace": namespace },
            } },
        } } },
    });
    point_at(&mut store, server, ca_pem);
    store
}

/// Makes a store's manifest name this server, and trust its CA alone.
pub fn point_at(store: &mut Value, server: &str, ca_pem: Option<&str>) {
    let Some(vault) = store["spec"]["provider"]["vault"].as_object_mut() else { return };
    vault.insert("server".to_owned(), json!(server));
    vault.remove("caProvider");
    match ca_pem {
        Some(pem) => vault.insert("caBundle".to_owned(), json!(ca_bundle(pem))),
        None => vault.remove("caBundle"),
    };
}

/// Certificates as `caBundle` carries them.
pub fn ca_bundle(pem: &str) -> String {
    STANDARD.encode(pem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_is_pointed_elsewhere_keeps_its_login_and_trusts_the_new_ca_alone() {
        let mut store = cluster_secret_store("vault-backend", "https://one:8200", Some("one"));
        store["spec"]["provider"]["vault"]["caProvider"] = json!({ "type": "ConfigMap", "name": "vault-ca" });
        let login = store["spec"]["provider"]["vault"]["auth"].clone();
        point_at(&mut store, "https://two:8200", Some("two"));
        let vault = &store["spec"]["provider"]["vault"];
        assert_eq!((&vault["server"], &vault["caBundle"]), (&json!("https://two:8200"), &json!("dHdv")));
        assert_eq!((&vault["auth"], vault.get("caProvider")), (&login, None));
        point_at(&mut store, "http://three:8200", None);
        assert_eq!(store["spec"]["provider"]["vault"].get("caBundle"), None);
    }
}
