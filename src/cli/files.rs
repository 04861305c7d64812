//! Files that a command reads.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::api::{API_VERSION, Workflow, WorkflowRun};

/// The text of a file; `-` is standard input.
///
/// # Errors
/// When it cannot be read, or is not UTF-8.
pub fn text(path: &Path) -> anyhow::Result<String> {
    if path.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
        return Ok(text);
    }
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// All `.yaml` and `.yml` files of a folder and of those below it, in order. Hidden folders are left out, and so are the
/// templates of a Helm chart, which are no YAML.
///
/// # Errors
/// When a folder cannot be read.
pub fn yaml(folder: &Path, all: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let cannot = || format!("cannot read the folder {}", folder.display());
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)
        .with_context(cannot)?
        .map(|e| Ok(e.with_context(cannot)?.path()))
        .collect::<anyhow::Result<_>>()?;
    entries.sort();
    let is_chart = folder.join("Chart.yaml").is_file();
    for path in entries {
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        if path.is_dir() {
            let is_template = is_chart && name == "templates";
            if !is_template && !name.starts_with('.') {
                yaml(&path, all)?;
            }
        } else if path.extension().is_some_and(|e| e == "yaml" || e == "yml") {
            all.push(path);
        }
    }
    Ok(())
}

/// The workflows and runs of one file.
#[derive(Debug, Default)]
pub struct Workflows {
    /// In the order of the file.
    pub workflows: Vec<Workflow>,
    /// In the order of the file.
    pub runs: Vec<WorkflowRun>,
}

/// Reads the workflows of a file; `only` names the one that is wanted.
///
/// # Errors
/// When the file cannot be read, is not YAML, or has no such workflow.
pub fn workflows(path: &Path, only: Option<&str>) -> anyhow::Result<Workflows> {
    let place = path.display();
    let more = || format!("{place}: `medley lint {place}` says where and what");
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text(path)?).with_context(more)?;
    let mut found = Workflows::default();
    for document in documents.into_iter().filter(|d| d["apiVersion"] == API_VERSION) {
        match document["kind"].as_str() {
            Some("Workflow") => found.workflows.push(read(document).with_context(more)?),
            Some("WorkflowRun") => found.runs.push(read(document).with_context(more)?),
            _ => {}
        }
    }
    if let Some(only) = only {
        found.workflows.retain(|w| w.metadata.name.as_deref() == Some(only));
    }
    match (found.workflows.is_empty(), only) {
        (true, Some(only)) => bail!("{place}: there is no Workflow `{only}` of {API_VERSION} in this file"),
        (true, None) => bail!("{place}: there is no Workflow of {API_VERSION} in this file"),
        _ => Ok(found),
    }
}

fn read<K: DeserializeOwned>(document: Value) -> anyhow::Result<K> {
    Ok(serde_json::from_value(document)?)
}
