//! The mappings of a spec, parsed: `data` entry by entry, then `dataTo`.

use std::collections::BTreeSet;

use super::desired::{Entry, InvalidSpec, Keys, Shape, unsupported};
use super::ledger::StoreKey;
use crate::api::push_secret::{DataTo, PushConversionStrategy, PushSecretData, PushSecretSpec};
use crate::domain::key_rewrite::{KeyMatch, KeyRewrite};
use crate::domain::mapping::KeyConversion;
use crate::domain::push_options::PushOptions;
use crate::domain::remote_key::RemoteKey;

/// All mappings, given the stores that the spec names or selects.
///
/// # Errors
/// What only an edit of the spec can mend.
pub fn mappings(spec: &PushSecretSpec, chosen: &BTreeSet<StoreKey>) -> Result<Vec<Entry>, InvalidSpec> {
    let mut entries = Vec::with_capacity(spec.data.len() + spec.data_to.len());
    for (index, data) in spec.data.iter().enumerate() {
        entries.push(named(format!("spec.data[{index}]"), data)?);
    }
    // A key with a mapping of its own is not mapped along with the others.
    let except: BTreeSet<String> = spec.data.iter().filter_map(|data| filled(&data.match_.secret_key)).collect();
    for (index, many) in spec.data_to.iter().enumerate() {
        entries.push(matched(format!("spec.dataTo[{index}]"), many, &except, chosen)?);
    }
    Ok(entries)
}

fn named(field: String, data: &PushSecretData) -> Result<Entry, InvalidSpec> {
    let remote = remote(format!("{field}.match.remoteRef.remoteKey"), &data.match_.remote_ref.remote_key)?;
    let shape = match (filled(&data.match_.secret_key), filled(&data.match_.remote_ref.property)) {
        (Some(key), Some(property)) => Shape::Value { key, remote, property },
        (Some(key), None) => Shape::Fields { key, remote },
        (None, Some(property)) => Shape::Text { remote, property },
        (None, None) => Shape::Bundle { keys: Keys::default(), remote },
    };
    entry(field, shape, None, data.clone())
}

fn matched(
    field: String,
    many: &DataTo,
    except: &BTreeSet<String>,
    chosen: &BTreeSet<StoreKey>,
) -> Result<Entry, InvalidSpec> {
    let expression = many.match_.as_ref().and_then(|matched| matched.regexp.as_deref());
    let refused = |field: String| move |error| InvalidSpec::Regexp { field, error };
    let matching = KeyMatch::parse(expression).map_err(refused(format!("{field}.match.regexp")))?;
    let keys = Keys { matching, except: except.clone() };
    let shape = match filled(&many.remote_key) {
        Some(key) => Shape::Bundle { keys, remote: remote(format!("{field}.remoteKey"), &key)? },
        None => {
            if many.rewrite.iter().any(|rewrite| rewrite.transform.is_some()) {
                return Err(unsupported(format!("{field}.rewrite.transform"), "use rewrite.regexp"));
            }
            let replacements = many.rewrite.iter().filter_map(|rewrite| rewrite.regexp.as_ref());
            let pairs = replacements.map(|regexp| (regexp.source.as_str(), regexp.target.as_str()));
            Shape::Each { keys, rewrite: KeyRewrite::parse(pairs).map_err(refused(format!("{field}.rewrite")))? }
        }
    };
    let store = store(&field, many, chosen)?;
    let kept = PushSecretData {
        metadata: many.metadata.clone(),
        conversion_strategy: many.conversion_strategy,
        ..PushSecretData::default()
    };
    entry(field, shape, store, kept)
}

fn store(field: &str, many: &DataTo, chosen: &BTreeSet<StoreKey>) -> Result<Option<StoreKey>, InvalidSpec> {
    let Some(reference) = &many.store_ref else { return Ok(None) };
    let Some(name) = filled(&reference.name) else {
        return Err(unsupported(format!("{field}.storeRef.labelSelector"), "name the store"));
    };
    let store = StoreKey { kind: reference.kind(), name };
    match chosen.contains(&store) {
        true => Ok(Some(store)),
        false => Err(InvalidSpec::StrangeStore { field: format!("{field}.storeRef"), store }),
    }
}

fn entry(field: String, shape: Shape, store: Option<StoreKey>, kept: PushSecretData) -> Result<Entry, InvalidSpec> {
    let options = kept.metadata.as_ref().map(PushOptions::parse).transpose();
    let options = options.map_err(|error| InvalidSpec::Options { field: field.clone(), error })?.unwrap_or_default();
    let conversion = match kept.conversion_strategy.unwrap_or_default() {
        PushConversionStrategy::None => KeyConversion::None,
        PushConversionStrategy::ReverseUnicode => KeyConversion::ReverseUnicode,
    };
    Ok(Entry { field, shape, store, conversion, options, kept })
}

fn remote(field: String, key: &str) -> Result<RemoteKey, InvalidSpec> {
    RemoteKey::parse(key).map_err(|error| InvalidSpec::Key { field, error })
}

fn filled(text: &Option<String>) -> Option<String> {
    text.clone().filter(|text| !text.is_empty())
}
