//! The `medley` program.

use std::process::ExitCode;

use clap::Parser;

/// Kubernetes operator that orchestrates medical services.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Run the operator.
    Operator(Box<medley::cli::operator::Args>),
    /// Write the custom resource definitions as YAML.
    Crds(medley::cli::crds::Args),
    /// Find what is wrong in YAML files, without a cluster.
    Lint(medley::cli::lint::Args),
    /// Draw the steps of a workflow, without a cluster.
    Graph(medley::cli::graph::Args),
    /// Show when runs would get capacity, and what would give way to them; writes nothing.
    Plan(medley::cli::plan::Args),
    /// Show what a run has and what it waits for.
    Explain(medley::cli::explain::Args),
    /// Run a workflow in a simulated world and show what happens when, without a cluster.
    Simulate(medley::cli::simulate::Args),
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            // whoever reads this can do something about its causes, and nothing about a backtrace
            eprintln!("medley: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Operator(args) => medley::cli::operator::run(&args)?,
        Command::Crds(args) => medley::cli::crds::run(&args)?,
        Command::Lint(args) => return medley::cli::lint::run(&args),
        Command::Graph(args) => medley::cli::graph::run(&args)?,
        Command::Plan(args) => medley::cli::plan::run(&args)?,
        Command::Explain(args) => medley::cli::explain::run(&args)?,
        Command::Simulate(args) => medley::cli::simulate::run(&args)?,
    }
    Ok(ExitCode::SUCCESS)
}
