//! The text of the template, in a ConfigMap.

use serde_json::{Value, json};

use super::TEXTS;
use super::world::World;

impl World {
    /// A target is rendered from a template in some settings.
    pub fn add_template(&self, target: &mut Value) {
        if self.setting.templated {
            let from = json!({ "configMap": { "name": "texts", "items": [{ "key": "password" }] } });
            target["template"] = json!({ "templateFrom": [from] });
        }
    }

    /// The next text puts its number behind the value.
    pub fn edit_text(&mut self) {
        self.texts += 1;
        let text = json!({ "password": format!("{{{{ .password }}}}|{}", self.texts) });
        let metadata = json!({ "name": "texts", "namespace": "team" });
        self.api.put(TEXTS, json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": text }));
        self.process.show_text(self.api.get(TEXTS));
    }

    pub fn delete_text(&mut self) {
        self.api.remove(TEXTS);
        self.process.show_text(None);
    }

    /// Whether the target is rendered from the present text, if it is from one at all.
    pub fn has_its_text(&self) -> bool {
        let text = format!("|{}", self.texts);
        !self.setting.templated || self.rendered().is_none_or(|rendered| rendered.ends_with(&text))
    }

    /// Whether the text of its template is not there.
    pub fn lacks_its_text(&self) -> bool {
        self.setting.templated && self.api.get::<Value>(TEXTS).is_none()
    }
}
