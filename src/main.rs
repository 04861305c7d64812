//! The `medley` program.

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
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Operator(args) => medley::cli::operator::run(&args),
        Command::Crds(args) => medley::cli::crds::run(&args),
    }
}
