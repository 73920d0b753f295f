//! Parses the mappings of a spec: first `data`, then `dataTo`.

use std::collections::BTreeSet;

use super::desired::{self, Chosen, InvalidSpec, Keys, PushMapping, Shape, missing};
use super::ledger::StoreKey;
use crate::api::push_secret::{DataTo, PushConversionStrategy, PushRewrite, PushSecretData, PushSecretSpec};
use crate::domain::key_rewrite::{KeyChange, KeyMatch, KeyRewrite};
use crate::domain::mapping::KeyConversion;
use crate::domain::push_options::PushOptions;
use crate::domain::remote_key::RemoteKey;

/// The maximum number of regular expressions of one PushSecret. Each takes up to a MiB during the
/// reconcile (measured: its program, and what its search keeps), so four reconciles at once take
/// 100 MiB at most.
const MAX_EXPRESSIONS: usize = 25;

/// Parses all mappings, given the stores that the spec names or selects.
///
/// # Errors
/// A fault that only an edit of the spec can fix.
pub fn mappings(spec: &PushSecretSpec, chosen: &Chosen) -> Result<Vec<PushMapping>, InvalidSpec> {
    let found = spec.data_to.iter().map(expressions).sum();
    if found > MAX_EXPRESSIONS {
        return Err(InvalidSpec::TooManyExpressions { found, limit: MAX_EXPRESSIONS });
    }
    let mut entries = Vec::with_capacity(spec.data.len() + spec.data_to.len());
    for (index, data) in spec.data.iter().enumerate() {
        entries.push(named(format!("spec.data[{index}]"), data)?);
    }
    // A key that `data` names is not mapped by `dataTo` as well.
    let except: BTreeSet<String> = spec.data.iter().filter_map(|data| filled(&data.match_.secret_key)).collect();
    for (index, many) in spec.data_to.iter().enumerate() {
        entries.push(matched(index, many, &except, chosen)?);
    }
    Ok(entries)
}

fn expressions(many: &DataTo) -> usize {
    let matched = many.match_.iter().filter(|matched| matched.regexp.is_some()).count();
    matched + many.rewrite.iter().filter(|rewrite| rewrite.regexp.is_some()).count()
}

fn named(field: String, data: &PushSecretData) -> Result<PushMapping, InvalidSpec> {
    let remote = remote(format!("{field}.match.remoteRef.remoteKey"), &data.match_.remote_ref.remote_key)?;
    let shape = match (filled(&data.match_.secret_key), filled(&data.match_.remote_ref.property)) {
        (Some(key), Some(property)) => Shape::Value { key, remote, property },
        (Some(key), None) => Shape::Fields { key, remote },
        (None, Some(property)) => Shape::Text { remote, property },
        (None, None) => Shape::Bundle { keys: Keys::default(), remote },
    };
    mapping(field, shape, None, data.clone())
}

fn matched(
    index: usize,
    many: &DataTo,
    except: &BTreeSet<String>,
    chosen: &Chosen,
) -> Result<PushMapping, InvalidSpec> {
    let field = format!("spec.dataTo[{index}]");
    let expression = many.match_.as_ref().and_then(|matched| matched.regexp.as_deref());
    let refused = |field: String| move |error| InvalidSpec::Regexp { field, error };
    let matching = KeyMatch::parse(expression).map_err(refused(format!("{field}.match.regexp")))?;
    let keys = Keys { matching, except: except.clone() };
    let shape = match filled(&many.remote_key) {
        Some(key) => Shape::Bundle { keys, remote: remote(format!("{field}.remoteKey"), &key)? },
        None => {
            let changes = many.rewrite.iter().enumerate();
            let changes = changes.map(|(at, rewrite)| change(&format!("{field}.rewrite[{at}]"), rewrite));
            Shape::Each { keys, rewrite: KeyRewrite::new(changes.collect::<Result<Vec<_>, _>>()?.concat()) }
        }
    };
    let stores = match chosen.data_to.get(&index) {
        Some(selected) => Some(selected.clone()),
        None => named_store(&field, many, chosen)?.map(|store| BTreeSet::from([store])),
    };
    let kept = PushSecretData {
        metadata: many.metadata.clone(),
        conversion_strategy: many.conversion_strategy,
        ..PushSecretData::default()
    };
    mapping(field, shape, stores, kept)
}

/// Parses a rewrite: the CRD allows one of the two.
fn change(field: &str, rewrite: &PushRewrite) -> Result<Vec<KeyChange>, InvalidSpec> {
    let replace = rewrite.regexp.as_ref().map(|regexp| {
        let refused = |error| InvalidSpec::Regexp { field: format!("{field}.regexp.source"), error };
        KeyChange::replace(&regexp.source, &regexp.target).map_err(refused)
    });
    let template = rewrite.transform.as_ref().map(|transform| {
        let refused =
            |fault| InvalidSpec::Template { field: format!("{field}.transform.template"), fault: Box::new(fault) };
        KeyChange::template(&transform.template).map_err(refused)
    });
    replace.into_iter().chain(template).collect()
}

fn named_store(field: &str, many: &DataTo, chosen: &Chosen) -> Result<Option<StoreKey>, InvalidSpec> {
    let Some(reference) = &many.store_ref else { return Ok(None) };
    let Some(store) = desired::named_store(reference) else {
        return Err(missing(format!("{field}.storeRef.name"), "name the store, or select by labels"));
    };
    match chosen.stores.contains(&store) {
        true => Ok(Some(store)),
        false => Err(InvalidSpec::StrangeStore { field: format!("{field}.storeRef"), store }),
    }
}

fn mapping(
    field: String,
    shape: Shape,
    stores: Option<BTreeSet<StoreKey>>,
    kept: PushSecretData,
) -> Result<PushMapping, InvalidSpec> {
    let options = kept.metadata.as_ref().map(PushOptions::parse).transpose();
    let options = options.map_err(|error| InvalidSpec::Options { field: field.clone(), error })?.unwrap_or_default();
    let conversion = match kept.conversion_strategy.unwrap_or_default() {
        PushConversionStrategy::None => KeyConversion::None,
        PushConversionStrategy::ReverseUnicode => KeyConversion::ReverseUnicode,
    };
    Ok(PushMapping { field, shape, stores, conversion, options, kept })
}

fn remote(field: String, key: &str) -> Result<RemoteKey, InvalidSpec> {
    RemoteKey::parse(key).map_err(|error| InvalidSpec::Key { field, error })
}

fn filled(text: &Option<String>) -> Option<String> {
    text.clone().filter(|text| !text.is_empty())
}
