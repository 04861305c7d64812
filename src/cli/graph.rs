//! `medley graph`: the steps of a workflow as a picture. Needs no cluster.

use std::{io::Write as _, path::PathBuf};

use anyhow::Context;

use crate::{
    cli::files,
    core::graph::{Graph, dot, mermaid, text},
};

/// What is drawn.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// YAML file with the Workflow; `-` is standard input.
    file: PathBuf,
    /// Name of the Workflow, where the file has several; all when not set.
    #[arg(long)]
    workflow: Option<String>,
    /// How it is drawn.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// How a graph is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A Mermaid flowchart, for Markdown.
    Mermaid,
    /// Graphviz' language.
    Dot,
    /// For the terminal.
    Text,
}

/// Prints the graph of each workflow.
///
/// # Errors
/// When the file cannot be read or has no such workflow.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let found = files::workflows(&args.file, args.workflow.as_deref())?;
    let mut out = Vec::new();
    for workflow in &found.workflows {
        let name = workflow.metadata.name.as_deref().unwrap_or("workflow");
        let graph = Graph::of(name, &workflow.spec).map_err(anyhow::Error::msg)?;
        out.push(match args.format {
            Format::Mermaid => mermaid(&graph),
            Format::Dot => dot(&graph),
            Format::Text => text(&graph),
        });
    }
    std::io::stdout().write_all(out.join("\n").as_bytes()).context("cannot write to standard output")
}
