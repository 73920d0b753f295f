//! What is there: the status, the target, and the value at the path.

use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};

use super::one_store::PROPERTIES;
use super::world::{World, property_of};
use super::{OBJECT, TARGET};
use crate::domain::consent;

impl World {
    pub fn uid(&self) -> String {
        let object = self.api.get::<Value>(OBJECT).unwrap_or_default();
        object["metadata"]["uid"].as_str().unwrap_or_default().to_owned()
    }

    pub fn ready(&self) -> Value {
        let object: Value = self.api.get(OBJECT).unwrap();
        let ready = object["status"]["conditions"].as_array().and_then(|all| all.first()).cloned();
        let mut ready = ready.unwrap_or_default();
        ready["current"] = json!(ready["observedGeneration"] == object["metadata"]["generation"]);
        ready
    }

    /// What the target holds, if there is one, without what its template adds.
    pub fn held(&self) -> Option<String> {
        let held = self.rendered()?;
        Some(held.split('|').next().unwrap_or_default().to_owned())
    }

    pub fn rendered(&self) -> Option<String> {
        let target: Secret = self.api.get(TARGET)?;
        Some(String::from_utf8(target.data?["password"].0.clone()).unwrap())
    }

    /// What its own target holds. One that has its name may still be that of an object before it.
    pub fn held_by_own(&self) -> Option<String> {
        let target: Value = self.api.get(TARGET)?;
        self.held().filter(|_| target["metadata"]["ownerReferences"][0]["uid"] == self.uid().as_str())
    }

    pub fn property(&self) -> usize {
        let object = self.api.get(OBJECT);
        object.as_ref().map(property_of).unwrap_or_default()
    }

    /// The Secret that its status names.
    pub fn bound(&self) -> Option<String> {
        let object: Value = self.api.get(OBJECT)?;
        object["status"]["binding"]["name"].as_str().map(str::to_owned)
    }

    /// What the target should hold now.
    pub fn wanted(&self) -> Option<String> {
        self.value_of(self.property())
    }

    pub fn value_of(&self, property: usize) -> Option<String> {
        let (server, path) = self.store.place();
        let value = server.peek(&path).data()?.get(PROPERTIES[property])?.rendered();
        Some(value.expose_utf8().unwrap().to_owned())
    }

    /// Whether the path has a version, with whatever properties.
    pub fn is_live(&self) -> bool {
        let (server, path) = self.store.place();
        server.peek(&path).data().is_some()
    }

    /// Whether the producer lets nobody read it.
    pub fn is_forbidden(&self) -> bool {
        let (server, path) = self.store.place();
        let metadata = server.peek(&path).custom_metadata;
        metadata.contains_key(&consent::key(PROPERTIES[0]))
    }
}
