//! V1–V3 and V5–V8: one path, one property.

use super::suggest;
use super::words::{
    CONFIGURATION_PREFIX, CREDENTIAL_PROPERTIES, ENDPOINT_PROPERTIES, PROPERTY_ALIASES, SECRET_PREFIX, is_property,
    is_segment, words_of,
};
use super::{Convention, Finding, RuleId, Severity};
use crate::domain::path::RemotePath;

/// V1, V2, V3, V5, V6, each at most once.
pub fn judge_path(convention: &Convention, path: &RemotePath, property: Option<&str>) -> Vec<Finding> {
    let segments: Vec<&str> = path.path.segments().collect();
    let fix = suggest::path(convention, path, property);
    let mut findings = Vec::new();
    findings.extend(prefix(path, &segments, property, fix.as_deref()));
    findings.extend(datasource(convention, path, &segments, fix.as_deref()));
    findings.extend(environment(convention, path, &segments, fix.as_deref()));
    findings.extend(shape(path, &segments, fix.as_deref()));
    findings
}

/// V7 and V8.
pub fn judge_property(path: &RemotePath, property: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(property_name(property));
    findings.extend(property_place(path, property));
    findings
}

/// A folder is right when it can hold paths that are.
pub fn judge_folder(convention: &Convention, folder: Option<&str>) -> Vec<Finding> {
    let Some(folder) = folder.map(|f| f.trim_matches('/')).filter(|f| !f.is_empty()) else {
        return vec![Finding {
            rule: RuleId::V1,
            severity: Severity::Warning,
            message: "the search has no path, so it reads the whole mount".into(),
            fix: Some(format!("search below `{SECRET_PREFIX}/` or `{CONFIGURATION_PREFIX}/`")),
        }];
    };
    let segments: Vec<&str> = folder.split('/').collect();
    if !is_prefix(segments[0]) {
        return vec![Finding {
            rule: RuleId::V1,
            severity: Severity::Warning,
            message: format!("the search of `{folder}` is outside the convention"),
            fix: Some(format!("search below `{SECRET_PREFIX}/` or `{CONFIGURATION_PREFIX}/`")),
        }];
    }
    match segments.get(1) {
        Some(datasource) if !convention.datasources.contains(*datasource) => vec![Finding {
            rule: RuleId::V3,
            severity: Severity::Warning,
            message: format!("`{datasource}` in the searched path `{folder}` is no known datasource"),
            fix: suggest::datasource(convention, datasource).map(|known| format!("search `{known}`")),
        }],
        Some(_) | None => Vec::new(),
    }
}

/// The same findings, none of which stops anything.
pub fn as_warnings(mut findings: Vec<Finding>) -> Vec<Finding> {
    for finding in &mut findings {
        finding.severity = Severity::Warning;
    }
    findings
}

fn prefix(path: &RemotePath, segments: &[&str], property: Option<&str>, fix: Option<&str>) -> Option<Finding> {
    if is_prefix(segments[0]) {
        return None;
    }
    let (rule, what, wanted) = match property {
        Some(property) if ENDPOINT_PROPERTIES.contains(&property) => {
            (RuleId::V2, "configuration", CONFIGURATION_PREFIX)
        }
        Some(_) | None => (RuleId::V1, "a secret", SECRET_PREFIX),
    };
    if is_prefix(path.mount.as_str()) {
        return Some(error(
            rule,
            format!(
                "`{0}` is taken as the mount of `{path}`, since the store names no other; {what} lives under `{wanted}/` of a mount",
                path.mount
            ),
            Some("set `spec.provider.vault.path` of the store to the mount, such as `secret`".into()),
        ));
    }
    Some(error(
        rule,
        format!("{what} lives under `{wanted}/`, and `{}` does not", path.path),
        Some(fix.map_or_else(|| format!("begin the path with `{wanted}/{{datasource}}/`"), use_path)),
    ))
}

fn datasource(convention: &Convention, path: &RemotePath, segments: &[&str], fix: Option<&str>) -> Option<Finding> {
    let named = *segments.get(1).filter(|_| is_prefix(segments[0]))?;
    if convention.datasources.contains(named) {
        return None;
    }
    let known = convention.datasources.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    Some(error(
        RuleId::V3,
        format!("`{named}` in `{}` is no known datasource", path.path),
        Some(fix.map_or_else(
            || format!("use the type of the system ({known}), or have the platform team add `{named}`"),
            use_path,
        )),
    ))
}

fn environment(convention: &Convention, path: &RemotePath, segments: &[&str], fix: Option<&str>) -> Option<Finding> {
    let word =
        segments.iter().flat_map(|segment| words_of(segment)).find(|word| convention.environments.contains(word))?;
    let namespace = format!("a Vault namespace for `{word}`");
    Some(error(
        RuleId::V5,
        format!("`{}` names the environment `{word}`; environments are Vault namespaces", path.path),
        Some(fix.map_or_else(
            || format!("drop the word and use {namespace}"),
            |fix| format!("use `{fix}` and {namespace}"),
        )),
    ))
}

fn shape(path: &RemotePath, segments: &[&str], fix: Option<&str>) -> Option<Finding> {
    let fix = |otherwise: &str| Some(fix.map_or_else(|| otherwise.to_owned(), use_path));
    if let Some(odd) = segments.iter().find(|segment| !is_segment(segment)) {
        return Some(error(
            RuleId::V6,
            format!(
                "the segment `{odd}` of `{}` is not lowercase letters and digits, in words joined by single hyphens, starting with a letter",
                path.path
            ),
            fix("write it in lowercase words joined by hyphens"),
        ));
    }
    // Where the prefix is missing, V1 already says what the path should be.
    if segments.len() == 3 || !is_prefix(segments[0]) {
        return None;
    }
    Some(error(
        RuleId::V6,
        format!(
            "`{}` has {} segments, and a path has exactly three: prefix, datasource, consumer",
            path.path,
            segments.len()
        ),
        fix("name the consumer (or instance) in one segment, words joined by hyphens"),
    ))
}

fn property_name(property: &str) -> Option<Finding> {
    if !is_property(property) {
        return Some(error(
            RuleId::V7,
            format!("the property {property:?} does not match `[a-z][a-z0-9_.-]*`"),
            suggest::property(property).map(|name| format!("use `{name}`")),
        ));
    }
    let (_, shared) = PROPERTY_ALIASES.iter().find(|(alias, _)| *alias == property)?;
    Some(Finding {
        rule: RuleId::V7,
        severity: Severity::Warning,
        message: format!("the property `{property}` is called `{shared}` in the shared vocabulary"),
        fix: Some(format!("use `{shared}`")),
    })
}

fn property_place(path: &RemotePath, property: &str) -> Option<Finding> {
    let rest = |prefix: &str| path.path.as_str().strip_prefix(prefix);
    if let Some(rest) = rest(CONFIGURATION_PREFIX)
        && CREDENTIAL_PROPERTIES.contains(&property)
    {
        return Some(error(
            RuleId::V8,
            format!("`{property}` is a credential, and `{}` is configuration", path.path),
            Some(format!("use `{SECRET_PREFIX}{rest}`")),
        ));
    }
    let rest = rest(SECRET_PREFIX).filter(|_| ENDPOINT_PROPERTIES.contains(&property))?;
    Some(Finding {
        rule: RuleId::V8,
        severity: Severity::Warning,
        message: format!("`{property}` is configuration, and `{}` holds secrets", path.path),
        fix: Some(format!("use `{CONFIGURATION_PREFIX}{rest}`")),
    })
}

fn is_prefix(segment: &str) -> bool {
    segment == SECRET_PREFIX || segment == CONFIGURATION_PREFIX
}

fn use_path(path: &str) -> String {
    format!("use `{path}`")
}

fn error(rule: RuleId, message: String, fix: Option<String>) -> Finding {
    Finding { rule, severity: Severity::Error, message, fix }
}
