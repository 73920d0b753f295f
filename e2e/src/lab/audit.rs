//! The requests that OpenBao's audit device recorded, by path and operation. Values in it are
//! hashed.

use std::{collections::BTreeMap, path::PathBuf};

use serde::Deserialize;

use super::json_lines::{JsonLines, Mark};

/// An audit file.
#[derive(Debug, Clone)]
pub struct AuditLog(JsonLines);

/// One request that the server answered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Request {
    /// `create`, `update`, `read`, `list`, `scan`, `patch`, `delete`
    pub operation: String,
    /// Without `v1/`, for instance `secret/data/platform-data/postgres/temporal`.
    #[serde(default)]
    pub path: String,
    /// Whether the server denied it, or failed.
    #[serde(skip)]
    pub refused: bool,
    /// Its namespace.
    #[serde(default)]
    pub namespace: Namespace,
    /// Those that `sys/config/auditing/request-headers` names, in lower case.
    #[serde(default)]
    pub headers: BTreeMap<String, Vec<String>>,
    /// Who asked.
    #[serde(skip)]
    pub caller: Caller,
}

/// A namespace of the server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Namespace {
    /// With a trailing slash; empty for the root.
    #[serde(default)]
    pub path: String,
}

/// The owner of a token, as far as the server knows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Caller {
    /// For instance `token-NAME` for a token that was created with a name.
    #[serde(default)]
    pub display_name: String,
    /// What the auth method noted: the role, for instance.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
}

impl Request {
    /// Whether the request could have changed something in a secrets engine.
    pub fn is_write(&self) -> bool {
        ["create", "update", "patch", "delete"].contains(&self.operation.as_str())
    }
}

#[derive(Deserialize)]
struct Line {
    r#type: String,
    request: Request,
    #[serde(default)]
    auth: Caller,
    #[serde(default)]
    error: String,
}

impl Line {
    fn answered(self) -> Option<Request> {
        let refused = !self.error.is_empty();
        (self.r#type == "response").then_some(Request { refused, caller: self.auth, ..self.request })
    }
}

impl AuditLog {
    pub(super) fn at(file: PathBuf) -> Self {
        AuditLog(JsonLines::at(file))
    }

    /// The end of the file as it is now.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn mark(&self) -> anyhow::Result<Mark> {
        self.0.mark()
    }

    /// The requests answered since the mark, in order. A request that is still being answered is
    /// not among them.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn since(&self, mark: Mark) -> anyhow::Result<Vec<Request>> {
        let lines: Vec<Line> = self.0.since(mark)?;
        Ok(lines.into_iter().filter_map(Line::answered).collect())
    }

    /// The requests since the mark that a rate limit quota turned away. They are recorded where
    /// `sys/quotas/config` sets `enable_rate_limit_audit_logging`, and are not among those of
    /// [`AuditLog::since`].
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn turned_away_since(&self, mark: Mark) -> anyhow::Result<Vec<Request>> {
        let mut lines: Vec<Line> = self.0.since(mark)?;
        lines.retain(|line| line.error.ends_with("rate limit quota exceeded"));
        Ok(lines.into_iter().map(|line| line.request).collect())
    }

    /// The requests since the mark whose path starts with `prefix`.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn since_under(&self, mark: Mark, prefix: &str) -> anyhow::Result<Vec<Request>> {
        let mut requests = self.since(mark)?;
        requests.retain(|request| request.path.starts_with(prefix));
        Ok(requests)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn requests_since_a_mark_are_counted_once() {
        let file = std::env::temp_dir().join(format!("waypost-audit-{}", std::process::id()));
        let line = |kind: &str, path: &str| {
            format!("{{\"type\":\"{kind}\",\"request\":{{\"operation\":\"read\",\"path\":\"{path}\"}}}}\n")
        };
        fs::write(&file, line("response", "secret/data/old")).unwrap();
        let log = AuditLog::at(file.clone());
        let mark = log.mark().unwrap();
        let refused = line("response", "secret/data/c").replace("{\"type\"", "{\"error\":\"denied\",\"type\"");
        let throttled = r#"{"type":"request","auth":{"token_type":"default"},"request":{"operation":"read","path":"secret/data/b"},"error":"request path \"secret/data/b\": rate limit quota exceeded"}"#;
        let later = throttled.to_owned()
            + "\n"
            + &line("request", "secret/data/a")
            + &line("response", "secret/data/a")
            + &refused
            + "{\"type\":\"resp";
        fs::write(&file, line("response", "secret/data/old") + &later).unwrap();
        let requests = log.since(mark).unwrap();
        let turned_away = log.turned_away_since(mark).unwrap();
        let under_other = log.since_under(mark, "other/").unwrap();
        fs::remove_file(&file).unwrap();
        let seen: Vec<_> = requests.iter().map(|request| (request.path.as_str(), request.refused)).collect();
        assert_eq!(seen, [("secret/data/a", false), ("secret/data/c", true)]);
        assert!(under_other.is_empty());
        assert_eq!(turned_away.iter().map(|request| request.path.as_str()).collect::<Vec<_>>(), ["secret/data/b"]);
    }
}
