//! `waypost-e2e provision`: make the programs of the lab.

use crate::provision::{self, Programs};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Also build what only tests need: Helm, and the judges of our status and of our templates.
    #[arg(long)]
    tests: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let programs = Programs::provision()?;
    for program in
        [programs.etcd, programs.kube_apiserver, programs.kube_controller_manager, programs.kubectl, programs.bao]
    {
        println!("{program}");
    }
    if args.tests {
        println!("{}", provision::helm()?);
        println!("{}", provision::health()?);
        println!("{}", provision::oracle()?);
    }
    Ok(())
}
