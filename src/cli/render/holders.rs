//! Secrets and ConfigMaps among the files, as the API server would have them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::pull::Refused;
use crate::api::names;
use crate::cluster::{source, target};
use crate::domain::source::{Source, SourceKind};
use crate::domain::target::{Live, OwnerRef};
use crate::manifest::{Holder, Located, Node, Problem};
use crate::pull::desired::Desired;

/// Whether it is the object of this kind and name. One without a namespace is of any.
pub fn is(holder: &Holder<'_>, kind: &str, namespace: &str, name: &str) -> bool {
    is_of(holder, kind, namespace) && holder.node.at("metadata.name").and_then(Node::text) == Some(name)
}

/// Whether it is of this kind and namespace.
pub fn is_of(holder: &Holder<'_>, kind: &str, namespace: &str) -> bool {
    let own = holder.node.at("metadata.namespace").and_then(Node::text).unwrap_or_default();
    holder.node.text_at("kind") == Some(kind) && (own.is_empty() || namespace.is_empty() || own == namespace)
}

/// It as the source of a push.
///
/// # Errors
/// It has another shape.
pub fn source(holder: &Holder<'_>, kind: SourceKind, namespace: &str) -> Result<Source, Refused> {
    Ok(match kind {
        SourceKind::Secret => source::of_secret(namespace, parsed::<Secret>(holder)?),
        SourceKind::ConfigMap => source::of_config_map(namespace, parsed::<ConfigMap>(holder)?),
    })
}

/// It as the target of an ExternalSecret, which owns it.
///
/// # Errors
/// It has another shape.
pub fn live(holder: &Holder<'_>, desired: &Desired) -> Result<Live, Refused> {
    let mut secret = parsed::<Secret>(holder)?;
    secret.metadata.uid.get_or_insert_default();
    secret.metadata.resource_version.get_or_insert_default();
    let live = target::live(secret, &names::target_manager(&desired.name)).ok_or_else(|| odd(holder))?;
    let owner = OwnerRef {
        api_version: String::new(),
        kind: "ExternalSecret".to_owned(),
        name: desired.name.clone(),
        uid: desired.uid.clone(),
        controller: true,
        blocks_deletion: true,
    };
    Ok(Live { owners: vec![owner], terminating: false, ..live })
}

fn parsed<T: DeserializeOwned>(holder: &Holder<'_>) -> Result<T, Refused> {
    // The parser's error would quote a value.
    let object = encoded(holder.node.admitted()).and_then(|object| serde_json::from_value(object).ok());
    object.ok_or_else(|| odd(holder))
}

/// Puts `stringData` into `data`, as the API server does; `None` if it cannot.
fn encoded(mut object: Value) -> Option<Value> {
    let fields = object.as_object_mut()?;
    if let Some(texts) = fields.remove("stringData") {
        let data = fields.entry("data").or_insert_with(|| json!({})).as_object_mut()?;
        for (key, text) in texts.as_object()? {
            data.insert(key.clone(), STANDARD.encode(text.as_str()?).into());
        }
    }
    Some(object)
}

fn odd(holder: &Holder<'_>) -> Refused {
    let kind = holder.node.text_at("kind").unwrap_or_default();
    let message = format!("this is no {kind} that an API server would take");
    let fix = match kind {
        "Secret" => "every value of `data` is base64, and every value of `stringData` is a text: quote numbers",
        _config_map => "every value of `data` is a text: quote numbers",
    };
    let problem = Problem::error("wrong-type", holder.node.span.clone(), message, Some(fix.to_owned()));
    vec![Located::beside(std::slice::from_ref(&holder.node.span), holder.source, problem)]
}
