//! Logs, and traces where an OTLP endpoint is configured.

mod export;
pub mod trail;

use std::io::IsTerminal;

use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use thiserror::Error;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::filter::{Directive, LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::{Config, LogFormat};

/// Libraries that would log request bodies, tokens or paths, with their maximum level, whatever the
/// user sets.
const CAPS: [(&str, LevelFilter); 8] = [
    ("vaultrs", LevelFilter::OFF),
    ("rustify", LevelFilter::OFF),
    ("kube_client::client", LevelFilter::ERROR),
    ("hyper", LevelFilter::WARN),
    ("hyper_util", LevelFilter::WARN),
    ("h2", LevelFilter::WARN),
    ("reqwest", LevelFilter::WARN),
    ("serde_saphyr", LevelFilter::WARN),
];

/// Logging or tracing cannot be set up.
#[derive(Debug, Error)]
pub enum TelemetryError {
    /// The level or directives are invalid.
    #[error("--log-level {level:?} is not a level or a list of directives: {source}")]
    Level {
        /// The flag's value.
        level: String,
        /// What is wrong.
        source: tracing_subscriber::filter::ParseError,
    },
    /// The exporter's settings are invalid.
    #[error("cannot export traces (see the OTEL_* variables): {source}")]
    Export {
        /// What is wrong.
        source: opentelemetry_otlp::ExporterBuildError,
    },
}

/// The exporter of traces. Shut it down at the end, so that the last ones are sent.
pub struct Telemetry(Option<SdkTracerProvider>);

impl Telemetry {
    /// Sends what is buffered.
    pub fn shutdown(self) {
        if let Some(provider) = self.0
            && let Err(error) = provider.shutdown()
        {
            tracing::warn!(%error, "the last traces were not sent");
        }
    }
}

/// Installs the global subscriber.
pub fn install(config: &Config) -> Result<Telemetry, TelemetryError> {
    let provider = config.otlp_endpoint.as_deref().map(export::provider).transpose();
    let provider = provider.map_err(|source| TelemetryError::Export { source })?;
    let traces =
        provider.as_ref().map(|provider| tracing_opentelemetry::layer().with_tracer(provider.tracer("waypost")));
    tracing_subscriber::registry()
        .with(filter(&config.log_level)?.add_directive(trail_directive()))
        .with(filter_fn(|metadata| permitted(metadata.target(), *metadata.level())))
        .with(lines(config.log_format))
        .with(traces)
        .init();
    Ok(Telemetry(provider))
}

fn filter(level: &str) -> Result<EnvFilter, TelemetryError> {
    EnvFilter::builder().parse(level).map_err(|source| TelemetryError::Level { level: level.to_owned(), source })
}

/// Spans are exported whatever the log level.
fn trail_directive() -> Directive {
    format!("{}=info", trail::TARGET).parse().expect("a target and a level are a directive")
}

/// Whether the caps allow this target at this level. A module of a capped library is capped too.
fn permitted(target: &str, level: Level) -> bool {
    let below =
        |library: &str| target.strip_prefix(library).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
    CAPS.iter().filter(|(library, _)| below(library)).all(|(_, most)| level <= *most)
}

/// Log lines name their object themselves.
fn is_for_lines(metadata: &Metadata<'_>) -> bool {
    metadata.target() != trail::TARGET
}

fn lines<S>(format: LogFormat) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    match format {
        LogFormat::Json => lines.json().flatten_event(true).with_filter(filter_fn(is_for_lines)).boxed(),
        LogFormat::Text => {
            lines.with_ansi(std::io::stderr().is_terminal()).with_filter(filter_fn(is_for_lines)).boxed()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_that_could_log_secrets_stay_capped() {
        assert!(!permitted("vaultrs::api", Level::ERROR));
        assert!(!permitted("kube_client::client", Level::WARN));
        assert!(permitted("kube_client::client", Level::ERROR));
        assert!(permitted("hyperspace", Level::TRACE));
        assert!(permitted("waypost::push", Level::TRACE));
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(filter("a=b=c").is_err());
    }
}
