//! Measures the product on real servers, each figure beside a minimum: that of a program that sends
//! only the necessary requests, in the same run on the same servers. What templates cost is measured
//! beside Go's engine.

mod cold_start;
mod figure;
mod fleet;
mod ground;
mod looks;
mod propagation;
mod silence;
mod storm;
mod template;
mod wide;

use std::path::PathBuf;
use std::time::Duration;

pub use self::figure::{Figure, Verdict, json, table};
use self::{fleet::Fleet, ground::Ground};
use crate::lab::Storage;

/// Concurrent requests of a floor: as many as the controller's own default.
const CONCURRENT: usize = 8;

/// Figures that are measured together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// Changes of a source, one per second.
    Propagation,
    /// A fleet of ExternalSecrets: its cold start, its silence, and the memory that it costs.
    Fleet,
    /// PushSecrets: wide paths, changes at once, and intervals without a change.
    Publishing,
    /// A template, rendered by Waypost and by Go; no server is started for it.
    Template,
}

/// What is measured, and how much of it.
#[derive(Debug, Clone)]
pub struct Sizes {
    /// The only part that is measured; without one, all are.
    pub only: Option<Part>,
    /// The `waypost` program.
    pub binary: PathBuf,
    /// Where the servers keep their state.
    pub storage: Storage,
    /// Changes of a source, one per second.
    pub changes: usize,
    /// ExternalSecrets; each path has ten of them, and each namespace a hundred.
    pub objects: usize,
    /// Their refresh interval: a window of the silence.
    pub window: Duration,
    /// Sources that change at once.
    pub sources: usize,
    /// PushSecrets that do not change.
    pub pushes: usize,
    /// The number of their intervals.
    pub intervals: usize,
    /// Renders of a template in each turn.
    pub renders: usize,
}

/// Runs the scenarios, those of the size of a cluster and those of publishing each on a lab of
/// their own, so that neither weighs on the other.
///
/// # Errors
/// What failed; a figure over its bound is not an error.
pub async fn run(sizes: &Sizes) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    if sizes.measures(Part::Propagation) || sizes.measures(Part::Fleet) {
        figures.extend(of_size(sizes).await?);
    }
    if sizes.measures(Part::Publishing) {
        figures.extend(of_publishing(sizes).await?);
    }
    if sizes.measures(Part::Template) {
        eprintln!("a template: turns of {} renders", sizes.renders);
        figures.extend(template::measure(sizes.renders)?);
    }
    Ok(figures)
}

impl Sizes {
    fn measures(&self, part: Part) -> bool {
        self.only.is_none_or(|only| only == part)
    }
}

async fn of_publishing(sizes: &Sizes) -> anyhow::Result<Vec<Figure>> {
    let ground = Ground::prepare(&sizes.binary, sizes.storage).await?;
    eprintln!("a path with twenty properties");
    let mut figures = wide::measure(&ground).await?;
    eprintln!("{} changes at once", sizes.sources);
    figures.extend(storm::measure(&ground, sizes.sources).await?);
    eprintln!("{} PushSecrets unchanged for {} intervals", sizes.pushes, sizes.intervals);
    figures.extend(looks::measure(&ground, sizes.pushes, sizes.intervals).await?);
    Ok(figures)
}

async fn of_size(sizes: &Sizes) -> anyhow::Result<Vec<Figure>> {
    let ground = Ground::prepare(&sizes.binary, sizes.storage).await?;
    let mut figures = Vec::new();
    if sizes.measures(Part::Propagation) {
        eprintln!("propagation: {} changes", sizes.changes);
        figures.extend(propagation::measure(&ground, sizes.changes).await?);
    }
    if sizes.measures(Part::Fleet) {
        figures.extend(of_fleet(&ground, sizes).await?);
    }
    Ok(figures)
}

async fn of_fleet(ground: &Ground, sizes: &Sizes) -> anyhow::Result<Vec<Figure>> {
    eprintln!("cold start: {} ExternalSecrets", sizes.objects);
    let fleet = Fleet::assemble(ground, sizes.objects, sizes.window).await?;
    let (controller, mut figures) = cold_start::measure(ground, &fleet).await?;
    eprintln!("silence: three windows of {:?}", sizes.window);
    figures.extend(silence::measure(ground, &fleet, &controller, sizes.window).await?);
    ground.retire(controller).await?;
    eprintln!("cold start: the floor");
    let floor = cold_start::floor(ground, &fleet).await?;
    cold_start::compare(&mut figures, floor);
    Ok(figures)
}
