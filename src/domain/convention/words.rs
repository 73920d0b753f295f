//! The built-in vocabulary of the convention, and the syntax of words.

use super::Convention;

/// The first segment of secrets.
pub const SECRET_PREFIX: &str = "platform-data";
/// The first segment of configuration.
pub const CONFIGURATION_PREFIX: &str = "platform-config";
/// The mount that lint assumes, unless the store says otherwise.
pub const DEFAULT_MOUNT: &str = "secret";

/// Systems that generate credentials or endpoints inside a cluster.
pub const DATASOURCES: [&str; 35] = [
    "activemq",
    "cassandra",
    "cert-manager",
    "clickhouse",
    "cockroachdb",
    "consul",
    "couchbase",
    "couchdb",
    "dragonfly",
    "elasticsearch",
    "etcd",
    "grafana",
    "harbor",
    "influxdb",
    "kafka",
    "keycloak",
    "mariadb",
    "memcached",
    "minio",
    "mongodb",
    "mysql",
    "nats",
    "neo4j",
    "openbao",
    "opensearch",
    "postgres",
    "prometheus",
    "pulsar",
    "rabbitmq",
    "redis",
    "scylladb",
    "tidb",
    "valkey",
    "vault",
    "zookeeper",
];

/// Other names people use for a datasource.
pub const DATASOURCE_ALIASES: [(&str, &str); 12] = [
    ("bao", "openbao"),
    ("certmanager", "cert-manager"),
    ("cockroach", "cockroachdb"),
    ("elastic", "elasticsearch"),
    ("es", "elasticsearch"),
    ("influx", "influxdb"),
    ("mongo", "mongodb"),
    ("pg", "postgres"),
    ("postgresql", "postgres"),
    ("rabbit", "rabbitmq"),
    ("s3", "minio"),
    ("scylla", "scylladb"),
];

/// Words that name an environment. Left out on purpose, because they are parts of ordinary names:
/// demo, int, live, local, preview.
pub const ENVIRONMENTS: [&str; 19] = [
    "dev",
    "devel",
    "development",
    "nonprod",
    "prd",
    "preprod",
    "prod",
    "production",
    "qa",
    "sandbox",
    "sbx",
    "sit",
    "stage",
    "staging",
    "stg",
    "test",
    "testing",
    "tst",
    "uat",
];

/// Properties that are credentials.
pub const CREDENTIAL_PROPERTIES: [&str; 3] = ["password", "token", "username"];
/// Properties that say where a system is.
pub const ENDPOINT_PROPERTIES: [&str; 2] = ["host", "port"];

/// Other names of properties in the shared vocabulary: consumers of a path should not have to
/// guess.
pub const PROPERTY_ALIASES: [(&str, &str); 17] = [
    ("addr", "host"),
    ("address", "host"),
    ("ca", "ca.crt"),
    ("ca.pem", "ca.crt"),
    ("cert", "tls.crt"),
    ("certificate", "tls.crt"),
    ("endpoint", "host"),
    ("hostname", "host"),
    ("key.pem", "tls.key"),
    ("login", "username"),
    ("pass", "password"),
    ("passwd", "password"),
    ("pwd", "password"),
    ("tls.pem", "tls.crt"),
    ("user", "username"),
    ("user-name", "username"),
    ("user_name", "username"),
];

/// The syntax of a word that names an environment.
pub const WORD_PATTERN: &str = "[a-z0-9]+";
/// The syntax of a segment: lowercase words joined by single hyphens, starting with a letter.
pub const SEGMENT_PATTERN: &str = "[a-z][a-z0-9]*(-[a-z0-9]+)*";
/// The syntax of a property.
pub const PROPERTY_PATTERN: &str = "[a-z][a-z0-9_.-]*";

/// A word that is not valid for its field. Each text says what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WordError {
    /// A prefix or a datasource that is not a segment of a path.
    #[error(
        "{field}: {word:?} is not a segment of a path: use lowercase words joined by single hyphens, beginning with a letter"
    )]
    Segment {
        field: &'static str,
        /// The text there.
        word: String,
    },
    /// An environment that is not a single word.
    #[error("{field}: {word:?} is not a single word: use lowercase letters and digits")]
    Environment {
        field: &'static str,
        /// The text there.
        word: String,
    },
    /// A name that no property can have.
    #[error("{field}: {word:?} is not a valid property: use `{PROPERTY_PATTERN}`")]
    Property {
        field: &'static str,
        /// The text there.
        word: String,
    },
    /// The same prefix for secrets and configuration.
    #[error("secretPrefix and configurationPrefix are both {word:?}: set different ones")]
    OnePrefix {
        /// Both of them.
        word: String,
    },
    /// A property that is a credential and an endpoint.
    #[error("vocabulary: {word:?} is both a credential and an endpoint: remove it from one of the lists")]
    OneProperty {
        /// The property.
        word: String,
    },
    /// No datasource, so no path could follow the rules.
    #[error("datasources is empty, but every path names one: list them, or omit the field for the built-in list")]
    NoDatasource,
}

/// Checks every word.
pub fn check(convention: &Convention) -> Result<(), WordError> {
    let prefixes =
        [("secretPrefix", &convention.secret_prefix), ("configurationPrefix", &convention.configuration_prefix)];
    let mut segments = prefixes.into_iter().chain(convention.datasources.iter().map(|word| ("datasources", word)));
    if let Some((field, word)) = segments.find(|(_, word)| !is_segment(word)) {
        return Err(WordError::Segment { field, word: word.clone() });
    }
    if convention.secret_prefix == convention.configuration_prefix {
        return Err(WordError::OnePrefix { word: convention.secret_prefix.clone() });
    }
    if convention.datasources.is_empty() {
        return Err(WordError::NoDatasource);
    }
    if let Some(word) = convention.environments.iter().find(|word| !is_word(word)) {
        return Err(WordError::Environment { field: "environments", word: word.clone() });
    }
    let credentials = convention.credentials.iter().map(|word| ("vocabulary.credentials", word));
    let endpoints = convention.endpoints.iter().map(|word| ("vocabulary.endpoints", word));
    let aliases = convention.aliases.iter().flat_map(|(alias, shared)| [alias, shared]);
    let mut properties = credentials.chain(endpoints).chain(aliases.map(|word| ("vocabulary.aliases", word)));
    if let Some((field, word)) = properties.find(|(_, word)| !is_property(word)) {
        return Err(WordError::Property { field, word: word.clone() });
    }
    match convention.credentials.intersection(&convention.endpoints).next() {
        Some(word) => Err(WordError::OneProperty { word: word.clone() }),
        None => Ok(()),
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

/// Whether a segment matches [`SEGMENT_PATTERN`].
pub fn is_segment(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .split('-')
            .all(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()))
}

/// Whether a property matches [`PROPERTY_PATTERN`].
pub fn is_property(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_.-".contains(&b))
}

/// The words of a segment in lowercase, however they are joined.
pub fn words_of(segment: &str) -> Vec<String> {
    segment.split(['-', '_', '.']).map(str::to_ascii_lowercase).collect()
}
