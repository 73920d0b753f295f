//! The words of the convention; checks, suggestions and admission policies take them from here.

/// The first segment of secrets.
pub const SECRET_PREFIX: &str = "platform-data";
/// The first segment of configuration.
pub const CONFIGURATION_PREFIX: &str = "platform-config";
/// The mount of the framework, unless the store says otherwise.
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

/// Words that name an environment. Left out on purpose, being parts of ordinary names: demo, int, live, local, preview.
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

/// Other names of the shared vocabulary: readers of a path should not have to guess.
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

/// What a segment looks like: lowercase words joined by single hyphens, starting with a letter.
pub const SEGMENT_PATTERN: &str = "[a-z][a-z0-9]*(-[a-z0-9]+)*";
/// What a property looks like.
pub const PROPERTY_PATTERN: &str = "[a-z][a-z0-9_.-]*";

/// Whether a segment is as [`SEGMENT_PATTERN`] says.
pub fn is_segment(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .split('-')
            .all(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()))
}

/// Whether a property is as [`PROPERTY_PATTERN`] says.
pub fn is_property(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_.-".contains(&b))
}

/// The words of a segment, lowercase, whichever way they are joined.
pub fn words_of(segment: &str) -> Vec<String> {
    segment.split(['-', '_', '.']).map(str::to_ascii_lowercase).collect()
}
