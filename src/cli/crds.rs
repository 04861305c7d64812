//! `medley crds`: writes the CRDs, and the reference of their fields, one file a kind.

use std::path::{Path, PathBuf};

use anyhow::Context;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

use super::reference;
use crate::api::schema::crds;

/// Where the CRDs go; standard output when no folder is given.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder that gets one YAML file a kind.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Folder that gets one Markdown file a kind: all fields and rules.
    #[arg(long)]
    docs: Option<PathBuf>,
}

/// Writes all CRDs.
///
/// # Errors
/// When a folder cannot be written.
pub fn run(args: &Args) -> anyhow::Result<()> {
    for crd in crds() {
        if let Some(folder) = &args.out {
            write(folder, &file_name(&crd, "yaml"), &yaml(&crd)?)?;
        }
        if let Some(folder) = &args.docs {
            write(folder, &file_name(&crd, "md"), &reference::markdown(&crd))?;
        }
        if args.out.is_none() && args.docs.is_none() {
            print!("---\n{}", yaml(&crd)?);
        }
    }
    Ok(())
}

/// Name of a kind's file: its plural.
#[must_use]
pub fn file_name(crd: &CustomResourceDefinition, extension: &str) -> String {
    format!("{}.{extension}", crd.spec.names.plural)
}

/// A CRD as it stands in its file.
///
/// # Errors
/// When a value has no YAML form.
pub fn yaml(crd: &CustomResourceDefinition) -> anyhow::Result<String> {
    let text =
        serde_saphyr::to_string(crd).with_context(|| format!("the CRD of {} has no YAML form", crd.spec.names.kind))?;
    Ok(format!("# Made by `medley crds`; change src/api/ instead.\n{}\n", text.trim_end()))
}

fn write(folder: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let file = folder.join(name);
    std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
}
