//! The PushSecrets of a ClusterPushSecret.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::kind::{Child, Parent, Parts, Told, Words};
use super::selection::{Selection, SelectorError};
use crate::api::bounds::{self, OutOfBounds};
use crate::api::cluster_push_secret::ClusterPushSecretStatus;
use crate::api::condition::{self, Reason};
use crate::api::kind::Kind;
use crate::api::push_secret::PushSecretSpec;
use crate::api::{ClusterPushSecret, PushSecret};
use crate::push;
use crate::store::StoreName;

/// A SecretStore that a cluster-wide resource names is a different one in each namespace, so it is
/// none here.
const NO_NAMESPACE: &str = "";

impl Child for PushSecret {
    type Spec = PushSecretSpec;

    fn new(metadata: ObjectMeta, spec: PushSecretSpec) -> Self {
        PushSecret { metadata, spec, status: None }
    }

    fn spec(&self) -> &PushSecretSpec {
        &self.spec
    }

    fn is_contested(&self) -> bool {
        let ready = self.status.as_ref().and_then(|status| condition::find(&status.conditions, condition::READY));
        ready.is_some_and(|ready| ready.reason.as_deref() == Some(Reason::PathConflict.as_str()))
    }
}

impl Parent for ClusterPushSecret {
    type Child = PushSecret;
    type Status = ClusterPushSecretStatus;

    const KIND: Kind = Kind::ClusterPushSecret;
    const WORDS: Words = Words {
        parent: "ClusterPushSecret",
        child: "PushSecret",
        a_child: "a PushSecret",
        definition: "pushsecrets.external-secrets.io",
        name: "spec.pushSecretName",
        content: "spec.pushSecretSpec or spec.pushSecretMetadata",
        contested: "it says PathConflict: all write the same paths unless a key distinguishes them, such as by {{ .metadata.namespace }}",
    };

    fn parts(&self) -> Parts<'_, PushSecretSpec> {
        Parts {
            name: self.spec.push_secret_name.as_deref(),
            metadata: self.spec.push_secret_metadata.as_ref(),
            spec: &self.spec.push_secret_spec,
            refresh: self.spec.refresh_time.as_ref(),
        }
    }

    fn selection(&self) -> Result<Selection, SelectorError> {
        Selection::parse(&self.spec.namespace_selectors)
    }

    fn check(&self) -> Result<(), OutOfBounds> {
        bounds::check(&self.spec)
    }

    fn stores(&self) -> BTreeSet<StoreName> {
        let named = push::desired::stores(&self.spec.push_secret_spec);
        named.iter().map(|store| store.name_in(NO_NAMESPACE)).collect()
    }

    fn status(&self) -> Option<&ClusterPushSecretStatus> {
        self.status.as_ref()
    }

    fn told(status: &mut ClusterPushSecretStatus) -> Told<'_> {
        Told {
            observed_generation: &mut status.observed_generation,
            conditions: &mut status.conditions,
            name: &mut status.push_secret_name,
            provisioned: &mut status.provisioned_namespaces,
            failed: &mut status.failed_namespaces,
        }
    }
}
