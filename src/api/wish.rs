//! What a person asks for with an object: its spec, its annotations that carry authority, and its
//! deletion.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::names::WITH_AUTHORITY;

/// Whether two versions of an object ask for the same. They have the same UID, spec and annotations
/// that carry authority, and both or neither is being deleted.
pub fn is_same(one: &ObjectMeta, other: &ObjectMeta) -> bool {
    let said = |of: &ObjectMeta| WITH_AUTHORITY.map(|name| of.annotations.as_ref()?.get(name).cloned());
    one.uid == other.uid
        && one.generation == other.generation
        && one.deletion_timestamp.is_some() == other.deletion_timestamp.is_some()
        && said(one) == said(other)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::api::names::ANNOTATION_FORCE_SYNC;

    fn object(change: &[(&str, Value)]) -> ObjectMeta {
        let mut object = json!({ "uid": "u", "generation": 1, "annotations": { "note": "n" } });
        for (pointer, value) in change {
            *object.pointer_mut(pointer).unwrap() = value.clone();
        }
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn whatever_changes_what_an_object_asks_for_makes_it_another_wish() {
        let plain = object(&[]);
        assert!(is_same(&plain, &plain));
        let mut leaving = plain.clone();
        leaving.deletion_timestamp = serde_json::from_value(json!("1970-01-01T00:00:00Z")).unwrap();
        for other in [object(&[("/uid", json!("v"))]), object(&[("/generation", json!(2))]), leaving] {
            assert!(!is_same(&plain, &other) && !is_same(&other, &plain), "{other:?}");
        }
        let with = |name: &str, value: &str| object(&[("/annotations", json!({ name: value }))]);
        for name in WITH_AUTHORITY {
            let annotated = with(name, "true");
            assert!(!is_same(&plain, &annotated) && !is_same(&annotated, &plain), "{name}");
            assert!(!is_same(&annotated, &with(name, "false")) && is_same(&annotated, &with(name, "true")), "{name}");
        }
        assert!(is_same(&plain, &with(ANNOTATION_FORCE_SYNC, "now")), "it asks for what is due anyway");
    }
}
