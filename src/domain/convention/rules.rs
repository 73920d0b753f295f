//! The rule table: what each rule says, and its admission expressions.

use std::fmt;

use super::Convention;
use super::Severity;
use super::admission::{self, Validation};

/// The id by which admission, reconcilers, conditions, the CLI and the docs name a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RuleId {
    P1,
    P2,
    P3,
    V1,
    V2,
    V3,
    V4,
    V5,
    V6,
    V7,
    V8,
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::P1 => "P1",
            Self::P2 => "P2",
            Self::P3 => "P3",
            Self::V1 => "V1",
            Self::V2 => "V2",
            Self::V3 => "V3",
            Self::V4 => "V4",
            Self::V5 => "V5",
            Self::V6 => "V6",
            Self::V7 => "V7",
            Self::V8 => "V8",
        })
    }
}

impl RuleId {
    /// This rule's row of the table.
    pub fn rule(self) -> &'static Rule {
        &RULES[self as usize]
    }
}

/// One row of the table.
pub struct Rule {
    pub id: RuleId,
    pub title: &'static str,
    /// The most severe finding of this rule in mode `enforce`.
    pub severity: Severity,
    /// The rule, as a sentence.
    pub says: &'static str,
    /// How to comply.
    pub fix: &'static str,
    /// What breaks the rule, and what should be written instead.
    pub example: (&'static str, &'static str),
    /// What the admission policies reject or warn about, with the words of a convention.
    pub admission: fn(&Convention) -> Vec<Validation>,
}

/// Every rule, in the order of [`RuleId`].
pub static RULES: [Rule; 11] = [
    Rule {
        id: RuleId::P1,
        title: "ClusterSecretStore only",
        severity: Severity::Error,
        says: "A PushSecret references ClusterSecretStores, never a namespaced SecretStore.",
        fix: "Set `kind: ClusterSecretStore` in `secretStoreRefs`; without a kind it means SecretStore.",
        example: ("kind: SecretStore", "kind: ClusterSecretStore"),
        admission: admission::p1,
    },
    Rule {
        id: RuleId::P2,
        title: "every key is named",
        severity: Severity::Error,
        says: "Each mapping names a source key, a remote key and a property: no whole-secret push, no `dataTo`, no wildcard.",
        fix: "List each key: `match.secretKey`, `match.remoteRef.remoteKey` and `match.remoteRef.property`.",
        example: (
            "remoteRef: {remoteKey: platform-data/postgres/temporal}",
            "secretKey: password, remoteRef: {remoteKey: platform-data/postgres/temporal, property: password}",
        ),
        admission: admission::p2,
    },
    Rule {
        id: RuleId::P3,
        title: "remote keys are plain paths",
        severity: Severity::Error,
        says: "A remote key is a path that can be read one way only, and obeys V1 to V6: no empty segment, no `.` or `..`, no `%`, `?`, `#`, backslash, white space or control character.",
        fix: "Write the path out: segments of lowercase letters, digits and hyphens, joined by single slashes.",
        example: ("platform-data/postgres/../temporal", "platform-data/postgres/temporal"),
        admission: admission::p3,
    },
    Rule {
        id: RuleId::V1,
        title: "secrets under platform-data/",
        severity: Severity::Error,
        says: "Secrets live under `platform-data/`.",
        fix: "Begin the path with `platform-data/`; the store's `path` names the mount.",
        example: ("secrets/postgres/temporal", "platform-data/postgres/temporal"),
        admission: admission::v1,
    },
    Rule {
        id: RuleId::V2,
        title: "configuration under platform-config/",
        severity: Severity::Error,
        says: "Configuration (`host`, `port`) lives under `platform-config/`.",
        fix: "Begin the path with `platform-config/`.",
        example: ("config/postgres/platform-postgres", "platform-config/postgres/platform-postgres"),
        admission: admission::v2,
    },
    Rule {
        id: RuleId::V3,
        title: "known datasource",
        severity: Severity::Error,
        says: "The second segment is the type of the system that generates the value, from the platform's closed list.",
        fix: "Use the type from the list, or ask the platform team to add it.",
        example: ("platform-data/postgresql/temporal", "platform-data/postgres/temporal"),
        admission: admission::v3,
    },
    Rule {
        id: RuleId::V4,
        title: "one producer",
        severity: Severity::Error,
        says: "The last segment is unique within its datasource: a property of a path is written by one mapping of one PushSecret.",
        fix: "Give the second producer a path or a property of its own.",
        example: (
            "two mappings to `password` of platform-data/postgres/temporal",
            "platform-data/postgres/temporal and platform-data/postgres/temporal-visibility",
        ),
        admission: admission::v4,
    },
    Rule {
        id: RuleId::V5,
        title: "no environment in the path",
        severity: Severity::Error,
        says: "No segment contains an environment (dev, test, staging, prod, …) as a whole word: environments are Vault namespaces.",
        fix: "Drop the word, and give the environment a Vault namespace (`spec.provider.vault.namespace` of the store).",
        example: ("platform-data/postgres/temporal-prod", "platform-data/postgres/temporal"),
        admission: admission::v5,
    },
    Rule {
        id: RuleId::V6,
        title: "three plain segments",
        severity: Severity::Error,
        says: "A path has exactly three segments; each is lowercase letters and digits, words joined by single hyphens, starting with a letter.",
        fix: "Lowercase it, join words by hyphens, and keep to prefix, datasource and consumer.",
        example: ("platform-data/postgres/Temporal_DB", "platform-data/postgres/temporal-db"),
        admission: admission::v6,
    },
    Rule {
        id: RuleId::V7,
        title: "property names",
        severity: Severity::Error,
        says: "A property matches `[a-z][a-z0-9_.-]*`; another word for `username`, `password`, `host`, `port`, `token`, `tls.crt`, `tls.key` or `ca.crt` is a warning.",
        fix: "Use the shared word where it fits, lowercase otherwise.",
        example: ("Password, passwd", "password"),
        admission: admission::v7,
    },
    Rule {
        id: RuleId::V8,
        title: "credentials apart from endpoints",
        severity: Severity::Error,
        says: "`username`, `password` and `token` never go under `platform-config/`; `host` and `port` under `platform-data/` are a warning.",
        fix: "Publish credentials under `platform-data/` and endpoints under `platform-config/`.",
        example: (
            "platform-config/postgres/platform-postgres, property password",
            "platform-data/postgres/platform-postgres, property password",
        ),
        admission: admission::v8,
    },
];
