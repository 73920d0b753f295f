//! The texts of templates: those of ConfigMaps and Secrets among the files, else of the cluster.

use super::holders;
use super::pull::Refused;
use super::world::{Values, World, said};
use crate::cluster::{Cluster, ClusterError};
use crate::domain::secret_template::{self, TemplateFault};
use crate::domain::source::{Source, SourceKind, SourceName};
use crate::domain::template_spec::{TemplateSpec, Texts};
use crate::manifest::{Object, Problem, span_of};

/// The texts that a template refers to.
///
/// # Errors
/// A file has another shape. What is found nowhere is no error here.
pub async fn of(
    object: &Object<'_>,
    template: &TemplateSpec,
    namespace: &str,
    world: &World<'_>,
) -> Result<Texts, Refused> {
    let mut texts = Texts::default();
    for (from, keys) in template.objects() {
        let of_file =
            world.holders.iter().find(|holder| holders::is(holder, from.kind.as_str(), namespace, &from.name));
        let found = match (of_file, &world.values) {
            (Some(holder), _) => Some(holders::source(holder, from.kind, namespace)?),
            (None, Values::Live(servers)) => match servers.cluster() {
                Ok(cluster) => in_cluster(cluster, namespace, from).await.map_err(|error| unread(object, &error))?,
                Err(_unseen) => None,
            },
            (None, Values::Samples(_)) => None,
        };
        texts.add(from, &keys, found);
    }
    Ok(texts)
}

fn unread(object: &Object<'_>, error: &ClusterError) -> Refused {
    vec![object.located(Problem::error("value", span_of(&object.node, "spec"), said(error), None))]
}

async fn in_cluster(cluster: &Cluster, namespace: &str, object: &SourceName) -> Result<Option<Source>, ClusterError> {
    match object.kind {
        SourceKind::Secret => cluster.source(namespace, &object.name).await,
        SourceKind::ConfigMap => cluster.config_map_source(namespace, &object.name).await,
    }
}

/// A text that is found nowhere.
pub fn missing(object: &Object<'_>, rule: &str, fault: &TemplateFault) -> Problem {
    let fix = match &fault.problem {
        secret_template::Problem::NoObject(_) => Some("add its manifest to FILE, or name a file with it by --with"),
        _it_lacks_a_key => None,
    };
    Problem::error(rule, span_of(&object.node, &fault.field), fault.to_string(), fix.map(str::to_owned))
}
