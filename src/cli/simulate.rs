//! `medley simulate`: runs a workflow in a simulated world and shows what happens when. Needs no cluster.

use std::{collections::BTreeMap, io::Write as _, path::PathBuf};

use anyhow::{Context, bail};
use serde_json::Value;

use crate::{
    api::{
        Workflow,
        workflow::{Parameter, ValueType},
    },
    cli::{files, format::Format},
    core::{
        coordination::Definition,
        simulate::{Failing, Input, Plan, Span, simulate},
    },
};

/// What is run, and what the world does.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// YAML file with the Workflow; `-` is standard input. A WorkflowRun of it in the same file gives parameters and deadline.
    file: PathBuf,
    /// Name of the Workflow, where the file has several.
    #[arg(long)]
    workflow: Option<String>,
    /// Values of parameters, as name=value; what is no String is JSON.
    #[arg(long, num_args = 1.., value_name = "NAME=VALUE")]
    parameters: Vec<String>,
    /// How long an attempt works, as step=5s or step=5s..20s; `<step>.compensate` is what undoes a step. When not set: 200ms
    /// for a call, 10s for a container, 1m for a child run. Of a step with forEach it is for each item, and step[3]=5s for one.
    #[arg(long, num_args = 1.., value_name = "STEP=SPAN")]
    durations: Vec<String>,
    /// Attempts that fail, as step=Timeout:2 for the first two, or step=Timeout for all. Of a step with forEach it is for each
    /// item, and step[3]=Timeout for one.
    #[arg(long, num_args = 1.., value_name = "STEP=CLASS[:TIMES]")]
    fail: Vec<String>,
    /// Outputs of calls, containers and child runs, as step.output=value; what is no String is JSON. When not set:
    /// "simulated", 1, true, or {}, by their type.
    #[arg(long, num_args = 1.., value_name = "STEP.OUTPUT=VALUE")]
    outputs: Vec<String>,
    /// Decides what is left to chance: a duration within its span, the jitter of retries.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How the timeline looks: as a table with bars, or as JSON, where times are milliseconds from the start.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// Prints the timeline of one run. A run that fails as planned is no error.
///
/// # Errors
/// When the file has no such workflow, the workflow is not valid, or an argument names what it does not have.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let found = files::workflows(&args.file, args.workflow.as_deref())?;
    let [workflow] = found.workflows.as_slice() else {
        let names: Vec<&str> = found.workflows.iter().filter_map(|w| w.metadata.name.as_deref()).collect();
        bail!("the file has several workflows: choose one of {} with --workflow", names.join(", "));
    };
    let name = workflow.metadata.name.clone().unwrap_or_else(|| "workflow".to_owned());
    let definition = Definition::parse(&workflow.spec).map_err(|faults| {
        let list: Vec<String> = faults.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("the workflow is not valid (`medley lint` says where): {}", list.join("; "))
    })?;
    let given = found.runs.iter().find(|r| r.spec.workflow == name).map(|r| r.spec.clone()).unwrap_or_default();
    let parameters = parameters(&args.parameters, &workflow.spec.parameters, given.parameters)?;
    let plan = Plan {
        durations: pairs(&args.durations, "--durations", |text| text.parse::<Span>())?,
        failures: pairs(&args.fail, "--fail", |text| text.parse::<Failing>())?,
        outputs: outputs(&args.outputs, workflow)?,
        seed: args.seed,
    };
    let timeline = simulate(Input { workflow: name, definition, parameters, deadline: given.deadline, plan })
        .map_err(anyhow::Error::msg)?;
    let out = match args.format {
        Format::Text => timeline.text(),
        Format::Json => format!("{:#}\n", serde_json::to_value(&timeline)?),
    };
    std::io::stdout().write_all(out.as_bytes()).context("cannot write to standard output")
}

fn pair<'a>(text: &'a str, option: &str) -> anyhow::Result<(&'a str, &'a str)> {
    text.split_once('=').with_context(|| format!("{option}: `{text}` has no `=`: write name=value"))
}

fn pairs<T>(
    list: &[String],
    option: &str,
    read: impl Fn(&str) -> Result<T, String>,
) -> anyhow::Result<BTreeMap<String, T>> {
    let one = |text: &String| {
        let (step, value) = pair(text, option)?;
        let value = read(value).map_err(|e| anyhow::anyhow!("{option} {step}: {e}"))?;
        Ok((step.to_owned(), value))
    };
    list.iter().map(one).collect()
}

/// A value as its type wants it: text as it is, anything else as JSON.
fn value(text: &str, kind: Option<ValueType>) -> Result<Value, String> {
    match kind {
        Some(ValueType::String) => Ok(Value::from(text)),
        Some(kind) => serde_json::from_str(text).map_err(|_| format!("`{text}` is no JSON, and the type is {kind:?}")),
        // the operator's own words say that there is none
        None => Ok(serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))),
    }
}

fn parameters(
    list: &[String],
    declared: &[Parameter],
    mut given: BTreeMap<String, Value>,
) -> anyhow::Result<BTreeMap<String, Value>> {
    for text in list {
        let (name, word) = pair(text, "--parameters")?;
        let kind = declared.iter().find(|p| p.name == name).map(|p| p.type_);
        given.insert(name.to_owned(), value(word, kind).map_err(|e| anyhow::anyhow!("--parameters {name}: {e}"))?);
    }
    Ok(given)
}

fn outputs(list: &[String], workflow: &Workflow) -> anyhow::Result<BTreeMap<(String, String), Value>> {
    let mut all = BTreeMap::new();
    for text in list {
        let (place, word) = pair(text, "--outputs")?;
        let (step, output) =
            place.rsplit_once('.').with_context(|| format!("--outputs: `{place}` must be step.output"))?;
        let steps = workflow.spec.steps.iter().chain(&workflow.spec.finally);
        let declared = steps.filter(|s| s.name == step).flat_map(|s| &s.outputs).find(|o| o.name == output);
        let value = value(word, declared.map(|o| o.type_)).map_err(|e| anyhow::anyhow!("--outputs {place}: {e}"))?;
        all.insert((step.to_owned(), output.to_owned()), value);
    }
    Ok(all)
}
