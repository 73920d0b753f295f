//! `waypost render`: what an ExternalSecret or a PushSecret makes, by the controller's own code,
//! without a controller.

mod content;
mod holders;
mod missing;
mod output;
mod pull;
mod push;
mod samples;
mod texts;
mod world;

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;

use super::lint::{self, Colour, Format};
use super::server::{self, Server};
use super::terminal;
use crate::config::ClusterChoice;
use crate::domain::convention::Severity;
use crate::manifest::{self, Bundle, Exclude, Found, Located, Object, Source, stores};
use content::Made;
use pull::named;
use samples::Samples;
use world::{Servers, Values, World};

/// Said where there is nothing to render.
const NOTHING: &str = "no ExternalSecret and no PushSecret among the files: check the files";

/// Arguments of `waypost render`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Files of YAML or JSON, folders, or `-` for standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// What to leave out
    #[command(flatten)]
    exclude: Exclude,
    /// Only the object of this name, or of this namespace and name: shop/orders
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The values to render from, or `-` for standard input: a map of YAML or JSON from each remote
    /// key to its properties
    #[arg(long, value_name = "FILE")]
    values: Option<PathBuf>,
    /// More manifests to render from: the Secrets and ConfigMaps that the objects name, and stores
    #[arg(long, value_name = "FILE")]
    with: Vec<PathBuf>,
    /// A manifest of the target as it is, to compare with: kubectl get secret NAME -o yaml
    #[arg(long, value_name = "FILE")]
    target: Option<PathBuf>,
    /// Read the values from the server with your own token, and compare with what is in the cluster
    /// and on the server now. Nothing is written
    #[arg(long, conflicts_with = "values")]
    live: bool,
    /// Print the values too. Standard output must be a terminal
    #[arg(long)]
    show_values: bool,
    /// Print the values to a file or a pipe, too
    #[arg(long, requires = "show_values")]
    force: bool,
    /// The mount of stores whose manifests are not among the files
    #[arg(long, default_value = "secret", value_parser = super::mount, value_name = "MOUNT")]
    store_path: String,
    /// The server of --live
    #[command(flatten)]
    server: Server,
    /// The cluster of --live
    #[command(flatten)]
    cluster: ClusterChoice,
}

/// How a run ended; of several objects, the worst counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    #[default]
    AsNow,
    Differs,
    Refused,
}

/// Renders and prints.
pub fn run(args: &Args) -> ExitCode {
    match server::ask(work(args)) {
        Ok(Ok(code)) => code,
        Ok(Err(problems)) => failed(&problems),
        Err(problem) => failed(&[problem]),
    }
}

fn failed(problems: &[String]) -> ExitCode {
    problems.iter().for_each(|problem| terminal::say(format_args!("waypost render: {problem}")));
    ExitCode::from(2)
}

/// # Errors
/// Why nothing can be rendered at all.
async fn work(args: &Args) -> Result<ExitCode, Vec<String>> {
    let one = |problem: String| vec![problem];
    let shows = shows(args).map_err(one)?;
    check_input(args).map_err(one)?;
    let mut sources = read(args, &args.files)?;
    let asked = sources.len();
    sources.extend(read(args, &args.with)?);
    let targets = args.target.iter().map(|file| manifest::one(file)).collect::<Result<Vec<_>, _>>();
    let targets = targets.map_err(|error| one(format!("--target: {error}")))?;
    let bundle = parsed(&sources)?;
    let is_asked = |object: &Object<'_>| sources[..asked].iter().any(|source| std::ptr::eq(source, object.source));
    let picked = picked(args, bundle.objects.iter().filter(|object| is_asked(object))).map_err(one)?;
    if args.target.is_some() && !picked.iter().any(|object| object.kind.name == "ExternalSecret") {
        return Err(one("--target: only an ExternalSecret has a target to compare with: leave it out".to_owned()));
    }
    let world = World {
        stores: stores(&bundle.objects, &args.store_path, lint::closed(&bundle), |_store| None),
        holders: bundle.holders,
        targets: args.target.clone().zip(Some(parsed(&targets)?.holders)),
        values: values(args).await.map_err(one)?,
    };
    Ok(rendered(&picked, &world, shows).await)
}

/// Whether values are printed.
fn shows(args: &Args) -> Result<output::Values, String> {
    match (args.show_values, args.force || io::stdout().is_terminal()) {
        (false, _) => Ok(output::Values::Hidden),
        (true, true) => Ok(output::Values::Shown),
        (true, false) => Err("standard output is no terminal, so --show-values would leave the values in a file or \
             a log: add --force if that is what you want"
            .to_owned()),
    }
}

fn check_input(args: &Args) -> Result<(), String> {
    let named = args.files.iter().chain(&args.with).chain(&args.values).chain(&args.target);
    match named.filter(|file| file.as_os_str() == "-").count() {
        0 | 1 => Ok(()),
        _several => Err("standard input is named twice: write one of the two to a file".to_owned()),
    }
}

fn read(args: &Args, files: &[PathBuf]) -> Result<Vec<Source>, Vec<String>> {
    let Found { sources, refused, skipped } = manifest::read(files, &args.exclude);
    skipped.iter().for_each(|skipped| terminal::say(format_args!("waypost render: skipped: {skipped}")));
    match refused.is_empty() {
        true => Ok(sources),
        false => Err(refused.iter().map(ToString::to_string).collect()),
    }
}

fn parsed(sources: &[Source]) -> Result<Bundle<'_>, Vec<String>> {
    let bundle = manifest::bundle(sources);
    let broken = bundle.broken.iter().filter(|found| found.problem.severity == Severity::Error);
    let problems: Vec<String> = broken.map(ToString::to_string).collect();
    if problems.is_empty() { Ok(bundle) } else { Err(problems) }
}

/// The objects to render.
fn picked<'o, 's>(args: &Args, objects: impl Iterator<Item = &'o Object<'s>>) -> Result<Vec<&'o Object<'s>>, String> {
    let is_rendered = |object: &&Object<'_>| matches!(object.kind.name.as_str(), "ExternalSecret" | "PushSecret");
    let all: Vec<&Object<'_>> = objects.filter(is_rendered).collect();
    if all.is_empty() {
        return Err(NOTHING.to_owned());
    }
    let Some(wanted) = &args.name else { return Ok(all) };
    let names = |object: &Object<'_>| {
        let (namespace, name) = (object.metadata("namespace"), object.metadata("name"));
        (named(namespace, name), name.to_owned())
    };
    let is_wanted = |object: &&&Object<'_>| {
        let (full, name) = names(object);
        full == *wanted || name == *wanted
    };
    let picked: Vec<&Object<'_>> = all.iter().filter(is_wanted).copied().collect();
    if picked.is_empty() {
        let all: Vec<String> = all.iter().map(|object| names(object).0).collect();
        return Err(format!("--name: there is no {wanted} among the files: choose one of {}", all.join(", ")));
    }
    Ok(picked)
}

async fn values(args: &Args) -> Result<Values, String> {
    if !args.live {
        return Samples::read(args.values.as_deref()).map(Values::Samples).map_err(|error| error.to_string());
    }
    let servers = Servers::connect(&args.server, &args.cluster).await;
    servers.map(|servers| Values::Live(Box::new(servers))).map_err(|error| args.server.in_its_words(&error))
}

async fn rendered(picked: &[&Object<'_>], world: &World<'_>, shows: output::Values) -> ExitCode {
    let (mut texts, mut refused, mut outcome) = (Vec::new(), Vec::new(), Outcome::default());
    for object in picked {
        match made(object, world).await {
            Ok(made) => {
                let differs = made.iter().any(Made::differs);
                outcome = outcome.max(if differs { Outcome::Differs } else { Outcome::AsNow });
                texts.extend(made.iter().map(|made| output::text(made, shows)));
            }
            Err(problems) => {
                outcome = Outcome::Refused;
                refused.extend(problems);
            }
        }
    }
    let code = terminal::print("render", &texts.join("\n"), outcome.code());
    let colour = if terminal::is_coloured() { Colour::Terminal } else { Colour::None };
    if !refused.is_empty() {
        terminal::say(lint::render(&refused, Format::Text, colour).trim_end());
    }
    code
}

async fn made(object: &Object<'_>, world: &World<'_>) -> Result<Vec<Made>, Vec<Located>> {
    let namespace = match (object.metadata("namespace"), &world.values) {
        ("", Values::Live(servers)) => servers.namespace(),
        (namespace, _) => namespace.to_owned(),
    };
    match object.kind.name.as_str() {
        "PushSecret" => push::render(object, &namespace, world).await,
        _external_secret => pull::render(object, &namespace, world).await.map(|made| vec![made]),
    }
}

impl Outcome {
    fn code(self) -> ExitCode {
        match self {
            Outcome::AsNow => ExitCode::SUCCESS,
            Outcome::Refused => ExitCode::from(1),
            Outcome::Differs => ExitCode::from(3),
        }
    }
}
