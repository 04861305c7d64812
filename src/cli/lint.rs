//! `medley lint`: what is wrong in YAML files, before anything is applied. Needs no cluster.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail};
use serde_json::json;

use crate::{
    cli::{files, format::Format},
    core::lint::{Linter, Report, Severity, Source},
};

/// What is looked at.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// YAML files, and folders of them; `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How findings look; as text one line each, `file:line:column: severity: field: message [rule]`.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// Prints all findings; fails when there is an error among them.
///
/// # Errors
/// When a file or folder cannot be read, or a folder has no YAML.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut paths: Vec<PathBuf> = Vec::new();
    for path in &args.files {
        if path.is_dir() {
            let before = paths.len();
            files::yaml(path, &mut paths)?;
            if paths.len() == before {
                bail!("{}: there is no .yaml or .yml file in this folder", path.display());
            }
        } else {
            paths.push(path.clone());
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    paths.retain(|p| seen.insert(p.clone()));
    let texts: Vec<(String, String)> =
        paths.iter().map(|p| Ok((name(p), files::text(p)?))).collect::<anyhow::Result<_>>()?;
    let sources: Vec<Source<'_>> = texts.iter().map(|(name, text)| Source { name, text }).collect();
    let report = Linter::default().lint(&sources);
    let out = match args.format {
        Format::Text => shown(&report, sources.len()),
        Format::Json => {
            let whole = json!({"findings": report.findings, "objects": report.objects, "otherObjects": report.others});
            format!("{whole:#}\n")
        }
    };
    std::io::stdout().write_all(out.as_bytes()).context("cannot write to standard output")?;
    Ok(if report.count(Severity::Error) > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn name(path: &Path) -> String {
    if path.as_os_str() == "-" { "stdin".to_owned() } else { path.display().to_string() }
}

fn shown(report: &Report, files: usize) -> String {
    let mut out: String = report.findings.iter().map(|f| format!("{f}\n")).collect();
    let many = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let counts: Vec<String> = [Severity::Error, Severity::Warning, Severity::Note]
        .into_iter()
        .map(|s| (report.count(s), s))
        .filter(|(n, _)| *n > 0)
        .map(|(n, s)| many(n, s.as_str()))
        .collect();
    let found = if counts.is_empty() { "nothing to say".to_owned() } else { counts.join(", ") };
    out.push_str(&format!("{} in {}: {found}", many(report.objects, "object"), many(files, "file")));
    if report.others > 0 {
        out.push_str(&format!("; {} of other groups not looked at", many(report.others, "object")));
    }
    out.push('\n');
    out
}
