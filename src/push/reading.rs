//! Reads the sources of one reconcile, and renders what is published of them.

use std::collections::BTreeSet;

use kube::ResourceExt;

use super::desired::{self, Desired};
use super::reconcile::{Turn, World};
use super::rendered::{Unrendered, rendered};
use super::second_look::Look;
use super::sources::{BOUND, Sources};
use crate::cluster::ClusterError;
use crate::cluster::source::OverBound;
use crate::controller::compute::computed;
use crate::controller::referrers::{Interest, Referrer, declare_texts};
use crate::domain::object_name::Name;
use crate::domain::source::Source;
use crate::domain::template_spec::TemplateSpec;

/// Why there is nothing to publish from.
#[derive(Debug, thiserror::Error)]
pub enum NoSources {
    #[error("more than one PushSecret may have")]
    Over { over: OverBound, look: Look },
    #[error("{why}")]
    Unrendered { why: Unrendered, look: Look },
    #[error(transparent)]
    Cluster(#[from] ClusterError),
}

impl Turn<'_> {
    /// Declares the sources, and the texts of the template, before they are read, so that no change is
    /// missed in between.
    pub(super) fn listen(&self) {
        let named = |name: String| Interest::named(BTreeSet::from([Name::new(&self.namespace, name)]));
        let (secrets, config_maps) = match desired::sources(&self.object.spec) {
            Ok(Sources::Named(name)) => (named(name), Interest::default()),
            Ok(Sources::Labelled(query)) => {
                let labelled = Some((self.namespace.clone(), query));
                // Keep the known names: a Secret that loses its labels now must still wake us.
                let secrets = self.world.referrers.secrets_of(&self.referrer());
                (Interest { secrets, labelled }, Interest::default())
            }
            Ok(Sources::ConfigMap(name)) => (Interest::default(), named(name)),
            Err(_) => (Interest::default(), Interest::default()),
        };
        self.declare(secrets, config_maps);
        self.declare_texts(desired::template(&self.object.spec).ok().flatten().as_ref());
    }

    pub(super) fn declare_texts(&self, template: Option<&TemplateSpec>) {
        let World { referrers, config_maps, .. } = self.world;
        let referrer = Referrer::PushTemplate(Name::new(&self.namespace, self.object.name_any()));
        declare_texts(referrers, config_maps, &referrer, &self.namespace, template);
    }

    pub(super) fn declare(&self, secrets: Interest, config_maps: Interest) {
        self.world.referrers.declare(self.referrer(), secrets);
        self.world.config_maps.declare(self.referrer(), config_maps);
    }

    fn referrer(&self) -> Referrer {
        Referrer::PushSecret(Name::new(&self.namespace, self.object.name_any()))
    }

    /// Reads the sources, and renders what is published of them.
    pub(super) async fn see_sources(
        &self,
        desired: &Desired,
        before: &BTreeSet<String>,
    ) -> Result<(Vec<Source>, Look), NoSources> {
        let (sources, look) = self.read_sources(&desired.sources, before).await?;
        let Some(template) = desired.template.clone().filter(|_| !sources.is_empty()) else {
            return Ok((sources, look));
        };
        let texts = self.world.cluster.template_texts(&self.namespace, &template).await?;
        match computed(move || rendered(&template, &texts, sources)).await {
            Ok((sources, unrendered)) => Ok((sources, Look { unrendered, ..look })),
            Err(why) => Err(NoSources::Unrendered { why, look }),
        }
    }

    /// Reads the sources. A Secret that loses its labels wakes us only by its name. So names are
    /// listed and declared first, and what is read after that counts. `before` are names that the
    /// reconcile has found earlier: it publishes what they gave, so their loss must wake us.
    async fn read_sources(
        &self,
        sources: &Sources,
        before: &BTreeSet<String>,
    ) -> Result<(Vec<Source>, Look), NoSources> {
        let (cluster, namespace) = (self.world.cluster, &self.namespace);
        let mut look = Look::begin();
        match sources {
            Sources::Named(name) => Ok((cluster.source(namespace, name).await?.into_iter().collect(), look)),
            Sources::ConfigMap(name) => {
                Ok((cluster.config_map_source(namespace, name).await?.into_iter().collect(), look))
            }
            Sources::Labelled(query) => {
                look.versions = cluster.source_versions(namespace, query).await?;
                let found = look.versions.len();
                look.declared = look.versions.keys().chain(before).cloned().collect();
                let secrets = look.declared.iter().map(|name| Name::new(namespace, name)).collect();
                let labelled = Some((namespace.clone(), query.clone()));
                self.declare(Interest { secrets, labelled }, Interest::default());
                if found > BOUND.secrets {
                    let found = cluster.source_names(namespace, query).await?.len();
                    if found > BOUND.secrets {
                        return Err(NoSources::Over { over: OverBound::Secrets(found), look });
                    }
                }
                match cluster.sources(namespace, query, BOUND).await? {
                    Ok(sources) => Ok((sources, look)),
                    Err(over) => Err(NoSources::Over { over, look }),
                }
            }
        }
    }
}
