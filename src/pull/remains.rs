//! Reads what it can of an ExternalSecret that does not decode: its stores, which decide which
//! controller serves it, and its status, which shows what its target holds.

use kube::core::DynamicObject;
use serde_json::Value;

use crate::api::external_secret::{DataFrom, ExternalSecretSpec, SourceRef};
use crate::api::{ExternalSecret, StoreRef};

/// An ExternalSecret with only the metadata, the stores and the status of this object: enough to
/// release it, and to take back what it holds. Do not use it otherwise.
pub fn of(object: DynamicObject) -> ExternalSecret {
    let spec = &object.data["spec"];
    let entries = ["data", "dataFrom"].into_iter().flat_map(|list| spec[list].as_array().into_iter().flatten());
    let data_from = entries
        .filter_map(|entry| store_ref(&entry["sourceRef"]["storeRef"]))
        .map(|store| SourceRef { store_ref: Some(store), generator_ref: None })
        .map(|source| DataFrom { source_ref: Some(source), ..DataFrom::default() })
        .collect();
    let secret_store_ref = store_ref(&spec["secretStoreRef"]);
    let spec = ExternalSecretSpec { secret_store_ref, data_from, ..ExternalSecretSpec::default() };
    let status = serde_json::from_value(object.data["status"].clone()).ok();
    ExternalSecret { metadata: object.metadata, spec, status }
}

fn store_ref(value: &Value) -> Option<StoreRef> {
    serde_json::from_value(value.clone()).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::pull::desired::stores;

    #[test]
    fn every_store_that_can_be_read_is_found_wherever_the_rest_is_wrong() {
        let store = |name: &str| json!({ "storeRef": { "name": name, "kind": "ClusterSecretStore" } });
        let object = serde_json::from_value(json!({
            "apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret", "metadata": { "name": "odd" },
            "spec": {
                "secretStoreRef": { "name": "a" },
                "target": "odd",
                "data": [{ "secretKey": 7, "sourceRef": store("b") }, "odd", { "sourceRef": { "storeRef": { "kind": "Odd" } } }],
                "dataFrom": [{ "find": "odd", "sourceRef": store("c") }],
            },
            "status": { "binding": { "name": "odd" } },
        }));
        let read = of(object.unwrap());
        let names: Vec<String> = stores(&read.spec, "team").map(|store| store.name).collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert_eq!(read.metadata.name.as_deref(), Some("odd"));
        assert_eq!(read.status.unwrap().binding.unwrap().name, "odd");
    }
}
