//! The trace of a change, as a collector gets it: of a new value, and of a removal.

use anyhow::ensure;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;
use waypost::api::{ExternalSecret, PushSecret};
use waypost_e2e::lab::{CONTROLLER_ACCOUNT, Controller, ControllerOptions, Lab};
use waypost_e2e::wait;

use crate::collector::{Collector, Span, line_of};
use crate::stage::{LATER, Stage};

/// A stage with a controller and a store of its own, whose traces are collected.
struct Traced {
    stage: Stage,
    collector: Collector,
    store: String,
    _controller: Controller,
}

/// How a trace ends: what the push announced, and which requests end it.
struct End<'a> {
    announced: &'a str,
    verbs: &'a [&'a str],
}

impl Traced {
    async fn begin(test: &str) -> anyhow::Result<Self> {
        let (lab, stage, collector) = (Lab::shared().await?, Stage::new(test).await?, Collector::start().await?);
        let store = stage.class_store().await?;
        let [namespace, account] = CONTROLLER_ACCOUNT;
        let kubeconfig = lab.kubeconfig_for(namespace, account).await?;
        let options = ControllerOptions::new(env!("CARGO_BIN_EXE_waypost"), kubeconfig)
            .arg(collector.flag())
            // Traces do not depend on what is logged.
            .arg("--log-level=warn")
            .arg("--leader-elect=false")
            .arg("--serve-unclassified=false")
            .arg(format!("--controller-class={}", stage.word))
            .env("OTEL_BSP_SCHEDULE_DELAY", "200");
        let controller = lab.start_controller(&options)?;
        controller.wait_ready().await?;
        Ok(Traced { stage, collector, store, _controller: controller })
    }

    /// A source of this kind is pushed, and a target has its value.
    async fn synced(&self, kind: &str) -> anyhow::Result<()> {
        let stage = &self.stage;
        self.source(kind, "first").await?;
        let of_store = json!({ "kind": "ClusterSecretStore", "name": self.store });
        let selector = match kind {
            "ConfigMap" => json!({ "configMap": { "name": "source" } }),
            _secret => json!({ "secret": { "name": "source" } }),
        };
        let spec = json!({ "secretStoreRefs": [of_store], "deletionPolicy": "Delete", "selector": selector });
        stage.push("push", "source", &[("password", "password")], spec).await?;
        stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
        let target = json!({ "secretStoreRef": of_store, "target": { "deletionPolicy": "Delete" } });
        stage.pull("pull", &[("password", "password")], target).await?;
        stage.ready::<ExternalSecret>(&stage.consumer, "pull", "True", "SecretSynced").await.map(drop)
    }

    async fn source(&self, kind: &str, value: &str) -> anyhow::Result<()> {
        let stage = &self.stage;
        if kind == "Secret" {
            return stage.secret(&stage.producer, "source", &[("password", value)]).await.map(drop);
        }
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "source" }, "data": { "password": value },
        });
        let params = PatchParams::apply("gitops").force();
        stage.api::<ConfigMap>(&stage.producer).patch("source", &params, &Patch::Apply(map)).await?;
        Ok(())
    }

    /// Waits for the trace that begins at the source and ends so at the target.
    async fn leads_to(&self, end: End<'_>) -> anyhow::Result<()> {
        let Stage { producer, consumer, .. } = &self.stage;
        let (source, push, pull) =
            (format!("{producer}/source"), format!("{producer}/push"), format!("{consumer}/pull"));
        wait::until("the trace of the change", LATER, async || {
            let spans = self.collector.spans()?;
            let is_last = |span: &&Span| {
                end.verbs.iter().any(|verb| span.is("kubernetes request", "verb", verb))
                    && span.is("kubernetes request", "object", &format!("Secret {pull}"))
            };
            let lines: Vec<_> = spans.iter().filter(is_last).map(|last| line_of(&spans, last)).collect();
            let leads = |line: &&Vec<&Span>| match line.as_slice() {
                [_last, of_pull, announce, of_push, event] => {
                    of_pull.is("reconcile", "object", &pull)
                        && announce.is("announce", "pushed", end.announced)
                        && of_push.is("reconcile", "object", &push)
                        && event.is("source changed", "object", &source)
                }
                _ => false,
            };
            let names: Vec<Vec<&str>> =
                lines.iter().map(|line| line.iter().map(|span| span.name.as_str()).collect()).collect();
            let line = lines.iter().find(leads);
            ensure!(line.is_some(), "of {names:?} none leads back to the source, of {} spans", spans.len());
            let data = format!("secret/data/{}", self.stage.path());
            let in_store = spans.iter().any(|span| {
                let is_write = span.is("store request", "method", "POST") && span.is("store request", "path", &data);
                is_write && line.is_some_and(|line| line[0].trace == span.trace)
            });
            ensure!(in_store, "the trace has no write to the store");
            Ok(Some(()))
        })
        .await
    }
}

#[tokio::test]
async fn one_trace_leads_from_the_source_through_the_version_to_the_target() -> anyhow::Result<()> {
    let traced = Traced::begin("traces").await?;
    for (kind, announced) in [("Secret", "Version(2)"), ("ConfigMap", "Version(4)")] {
        traced.synced(kind).await?;
        traced.source(kind, "second").await?;
        let stage = &traced.stage;
        stage.holds_within(LATER, &stage.consumer, "pull", &[("password", "second")]).await?;
        traced.leads_to(End { announced, verbs: &["apply", "update", "patch"] }).await?;
    }
    Ok(())
}

#[tokio::test]
async fn one_trace_leads_from_a_source_that_is_deleted_to_the_end_of_the_target() -> anyhow::Result<()> {
    for kind in ["ConfigMap", "Secret"] {
        let traced = Traced::begin("gone").await?;
        traced.synced(kind).await?;
        let stage = &traced.stage;
        match kind {
            "Secret" => drop(stage.api::<Secret>(&stage.producer).delete("source", &DeleteParams::default()).await?),
            _map => drop(stage.api::<ConfigMap>(&stage.producer).delete("source", &DeleteParams::default()).await?),
        }
        traced.leads_to(End { announced: "Removal(2)", verbs: &["delete"] }).await?;
    }
    Ok(())
}
