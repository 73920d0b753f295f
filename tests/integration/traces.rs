//! The trace of a change, as a collector gets it.

use anyhow::ensure;
use serde_json::json;
use waypost::api::{ExternalSecret, PushSecret};
use waypost_e2e::lab::{CONTROLLER_ACCOUNT, ControllerOptions, Lab};
use waypost_e2e::wait;

use crate::collector::{Collector, line_of};
use crate::stage::{LATER, Stage};

#[tokio::test]
async fn one_trace_leads_from_the_source_through_the_version_to_the_target() -> anyhow::Result<()> {
    let (lab, stage, collector) = (Lab::shared().await?, Stage::new("traces").await?, Collector::start().await?);
    let store = stage.class_store().await?;
    let [namespace, account] = CONTROLLER_ACCOUNT;
    let options = ControllerOptions::new(env!("CARGO_BIN_EXE_waypost"), lab.kubeconfig_for(namespace, account).await?)
        .arg(collector.flag())
        // Traces do not depend on what is logged.
        .arg("--log-level=warn")
        .arg("--leader-elect=false")
        .arg("--serve-unclassified=false")
        .arg(format!("--controller-class={}", stage.word))
        .env("OTEL_BSP_SCHEDULE_DELAY", "200");
    let controller = lab.start_controller(&options)?;
    controller.wait_ready().await?;
    stage.secret(&stage.producer, "source", &[("password", "first")]).await?;
    let of_store = json!({ "kind": "ClusterSecretStore", "name": store });
    stage.push("push", "source", &[("password", "password")], json!({ "secretStoreRefs": [of_store] })).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    stage.pull("pull", &[("password", "password")], json!({ "secretStoreRef": of_store })).await?;
    stage.ready::<ExternalSecret>(&stage.consumer, "pull", "True", "SecretSynced").await?;

    stage.secret(&stage.producer, "source", &[("password", "second")]).await?;
    stage.holds_within(LATER, &stage.consumer, "pull", &[("password", "second")]).await?;
    let [source, push, pull] =
        [("producer", "source"), ("producer", "push"), ("consumer", "pull")].map(|(side, name)| {
            let namespace = if side == "producer" { &stage.producer } else { &stage.consumer };
            format!("{namespace}/{name}")
        });
    wait::until("the trace of the change", LATER, async || {
        let spans = collector.spans()?;
        let is_write = |span: &&crate::collector::Span| {
            ["apply", "update", "patch"].iter().any(|verb| span.is("kubernetes request", "verb", verb))
                && span.is("kubernetes request", "object", &format!("Secret {pull}"))
        };
        let lines: Vec<_> = spans.iter().filter(is_write).map(|write| line_of(&spans, write)).collect();
        let leads = |line: &&Vec<&crate::collector::Span>| match line.as_slice() {
            [_write, of_pull, announce, of_push, event] => {
                of_pull.is("reconcile", "object", &pull)
                    && announce.is("announce", "pushed", "Version(2)")
                    && of_push.is("reconcile", "object", &push)
                    && event.is("source changed", "object", &source)
            }
            _ => false,
        };
        let names: Vec<Vec<&str>> =
            lines.iter().map(|line| line.iter().map(|span| span.name.as_str()).collect()).collect();
        let line = lines.iter().find(leads);
        ensure!(line.is_some(), "of the writes {names:?} none leads back to the source, of {} spans", spans.len());
        let in_store = spans.iter().any(|span| {
            span.name == "store request"
                && span.is("store request", "method", "POST")
                && line.is_some_and(|line| line[0].trace == span.trace)
        });
        ensure!(in_store, "the trace has no write to the store");
        Ok(Some(()))
    })
    .await
}
