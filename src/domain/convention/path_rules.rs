//! V1–V3 and V5–V8: one path, one property.

use super::suggest;
use super::words::{is_property, is_segment, words_of};
use super::{Convention, Finding, RuleId, Severity};
use crate::domain::path::RemotePath;

/// V1, V2, V3, V5, V6, each at most once.
pub fn judge_path(convention: &Convention, path: &RemotePath, property: Option<&str>) -> Vec<Finding> {
    let segments: Vec<&str> = path.path.segments().collect();
    let fix = suggest::path(convention, path, property);
    let mut findings = Vec::new();
    findings.extend(prefix(convention, path, &segments, property, fix.as_deref()));
    findings.extend(datasource(convention, path, &segments, fix.as_deref()));
    findings.extend(environment(convention, path, &segments, fix.as_deref()));
    findings.extend(shape(convention, path, &segments, fix.as_deref()));
    findings
}

/// V7 and V8.
pub fn judge_property(convention: &Convention, path: &RemotePath, property: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(property_name(convention, property));
    findings.extend(property_prefix(convention, path, property));
    findings
}

/// A folder is right if paths that follow the rules can be in it.
pub fn judge_folder(convention: &Convention, folder: Option<&str>) -> Vec<Finding> {
    let Convention { secret_prefix, configuration_prefix, .. } = convention;
    let below = || Some(format!("search below `{secret_prefix}/` or `{configuration_prefix}/`"));
    let Some(folder) = folder.map(|f| f.trim_matches('/')).filter(|f| !f.is_empty()) else {
        return vec![Finding {
            rule: RuleId::V1,
            severity: Severity::Warning,
            message: "the search has no path, so it reads the whole mount".into(),
            fix: below(),
        }];
    };
    let segments: Vec<&str> = folder.split('/').collect();
    if !is_prefix(convention, segments[0]) {
        return vec![Finding {
            rule: RuleId::V1,
            severity: Severity::Warning,
            message: format!("the search of `{folder}` is outside the convention"),
            fix: below(),
        }];
    }
    match segments.get(1) {
        Some(datasource) if !convention.datasources.contains(*datasource) => vec![Finding {
            rule: RuleId::V3,
            severity: Severity::Warning,
            message: format!("`{datasource}` in the searched path `{folder}` is not a known datasource"),
            fix: Some(match suggest::datasource(convention, datasource) {
                Some(known) => format!("search `{known}`"),
                None => format!("search one of {}", suggest::known_datasources(convention, datasource)),
            }),
        }],
        Some(_) | None => Vec::new(),
    }
}

/// The same findings as warnings.
pub fn as_warnings(mut findings: Vec<Finding>) -> Vec<Finding> {
    for finding in &mut findings {
        finding.severity = Severity::Warning;
    }
    findings
}

fn prefix(
    convention: &Convention,
    path: &RemotePath,
    segments: &[&str],
    property: Option<&str>,
    fix: Option<&str>,
) -> Option<Finding> {
    if is_prefix(convention, segments[0]) {
        return None;
    }
    let (rule, what, wanted) = match property {
        Some(property) if convention.endpoints.contains(property) => {
            (RuleId::V2, "configuration", &convention.configuration_prefix)
        }
        Some(_) | None => (RuleId::V1, "a secret", &convention.secret_prefix),
    };
    if is_prefix(convention, path.mount.as_str()) {
        return Some(error(
            rule,
            format!(
                "`{0}` is taken as the mount of `{path}`, because the store names none; {what} lives under `{wanted}/` of a mount",
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
    let named = *segments.get(1).filter(|_| is_prefix(convention, segments[0]))?;
    if convention.datasources.contains(named) {
        return None;
    }
    Some(error(
        RuleId::V3,
        format!("`{named}` in `{}` is not a known datasource", path.path),
        Some(fix.map_or_else(
            || {
                let known = suggest::known_datasources(convention, named);
                format!("use the type of the system ({known}), or have the platform team add `{named}`")
            },
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

fn shape(convention: &Convention, path: &RemotePath, segments: &[&str], fix: Option<&str>) -> Option<Finding> {
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
    // If the prefix is missing, V1 already says what the path should be.
    if segments.len() == 3 || !is_prefix(convention, segments[0]) {
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

fn property_name(convention: &Convention, property: &str) -> Option<Finding> {
    if !is_property(property) {
        return Some(error(
            RuleId::V7,
            format!("the property {property:?} does not match `[a-z][a-z0-9_.-]*`"),
            suggest::property(convention, property).map(|name| format!("use `{name}`")),
        ));
    }
    let shared = convention.aliases.get(property)?;
    Some(Finding {
        rule: RuleId::V7,
        severity: Severity::Warning,
        message: format!("the property `{property}` is called `{shared}` in the shared vocabulary"),
        fix: Some(format!("use `{shared}`")),
    })
}

fn property_prefix(convention: &Convention, path: &RemotePath, property: &str) -> Option<Finding> {
    let Convention { secret_prefix, configuration_prefix, credentials, endpoints, .. } = convention;
    let rest = |prefix: &str| path.path.as_str().strip_prefix(prefix).filter(|rest| rest.starts_with('/'));
    if let Some(rest) = rest(configuration_prefix)
        && credentials.contains(property)
    {
        return Some(error(
            RuleId::V8,
            format!("`{property}` is a credential, and `{}` is configuration", path.path),
            Some(format!("use `{secret_prefix}{rest}`")),
        ));
    }
    let rest = rest(secret_prefix).filter(|_| endpoints.contains(property))?;
    Some(Finding {
        rule: RuleId::V8,
        severity: Severity::Warning,
        message: format!("`{property}` is configuration, and `{}` holds secrets", path.path),
        fix: Some(format!("use `{configuration_prefix}{rest}`")),
    })
}

fn is_prefix(convention: &Convention, segment: &str) -> bool {
    segment == convention.secret_prefix || segment == convention.configuration_prefix
}

fn use_path(path: &str) -> String {
    format!("use `{path}`")
}

fn error(rule: RuleId, message: String, fix: Option<String>) -> Finding {
    Finding { rule, severity: Severity::Error, message, fix }
}
