//! Suggests a path or a name that follows the rules, if there is one.

use super::Convention;
use super::words::{DATASOURCE_ALIASES, is_property, is_segment};
use crate::domain::path::RemotePath;

/// A similar path that follows V1–V6, if it needs no guess at the consumer's name.
pub fn path(convention: &Convention, path: &RemotePath, property: Option<&str>) -> Option<String> {
    let mut segments: Vec<String> =
        path.path.segments().map(|segment| plain(convention, segment)).filter(|segment| !segment.is_empty()).collect();
    let Convention { secret_prefix, configuration_prefix, .. } = convention;
    let prefix = if [secret_prefix, configuration_prefix].contains(&segments.first()?) {
        segments.remove(0)
    } else {
        if segments.len() == 3 {
            segments.remove(0);
        }
        let is_endpoint = property.is_some_and(|property| convention.endpoints.contains(property));
        if is_endpoint { configuration_prefix.clone() } else { secret_prefix.clone() }
    };
    let [named, consumer] = <[String; 2]>::try_from(segments).ok()?;
    let datasource = datasource(convention, &named)?;
    is_segment(&consumer).then(|| format!("{prefix}/{datasource}/{consumer}"))
}

/// The known datasource that this word means, allowing for another name or a typing mistake.
pub fn datasource(convention: &Convention, word: &str) -> Option<String> {
    let known = |name: &str| convention.datasources.get(name).cloned();
    let alias = || DATASOURCE_ALIASES.iter().find(|(alias, _)| *alias == word).and_then(|(_, name)| known(name));
    known(word).or_else(alias).or_else(|| {
        convention
            .datasources
            .iter()
            .filter(|name| strsim::damerau_levenshtein(name, word) <= name.len() / 5)
            .min_by_key(|name| strsim::damerau_levenshtein(name, word))
            .cloned()
    })
}

/// How many datasources a message names.
const MOST_NAMED: usize = 5;

/// The known datasources for a message: all of a short list, those of a long one that are most like
/// the word.
pub fn known_datasources(convention: &Convention, word: &str) -> String {
    let mut known: Vec<&String> = convention.datasources.iter().collect();
    let listed = |known: &[&String]| known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if known.len() <= MOST_NAMED {
        return listed(&known);
    }
    known.sort_by(|one, other| strsim::jaro_winkler(other, word).total_cmp(&strsim::jaro_winkler(one, word)));
    format!("{}, or another of the {} known", listed(&known[..MOST_NAMED]), known.len())
}

/// A similar property name that follows V7.
pub fn property(convention: &Convention, name: &str) -> Option<String> {
    let lower = name.to_ascii_lowercase().replace([' ', '/'], "-");
    let shared = convention.aliases.get(&lower).cloned();
    shared.or_else(|| is_property(&lower).then_some(lower))
}

/// The segment in lowercase words joined by hyphens, without the words that name an environment.
fn plain(convention: &Convention, segment: &str) -> String {
    segment
        .split(|c: char| !c.is_ascii_alphanumeric())
        .map(str::to_ascii_lowercase)
        .filter(|word| !word.is_empty() && !convention.environments.contains(word))
        .collect::<Vec<_>>()
        .join("-")
}
