//! Does what the documentation shows work? Every YAML text of README, docs and examples that is one of medley's objects is
//! read as the operator reads it, and no field of it may be unknown.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use medley::{
    api::{API_VERSION, CapacityPool, MedicalService, ServicePolicy, ServiceQuery, Workflow, WorkflowRun},
    core::coordination::{Definition, definition::Action},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// One object as a reader finds it.
struct Shown {
    /// File, and line of its text.
    place: String,
    value: Value,
}

fn files(folder: &Path, all: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, all);
        } else if path.extension().is_some_and(|e| e == "md" || e == "yaml") {
            all.push(path);
        }
    }
}

/// The fenced `yaml` texts of a Markdown file, each with the line it begins at.
fn fenced(text: &str) -> Vec<(usize, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (number, line) in text.lines().enumerate() {
        match (&mut open, line.trim_start()) {
            (None, "```yaml") => open = Some((number + 2, String::new())),
            (Some(_), "```") => blocks.extend(open.take()),
            (Some((_, block)), _) => {
                block.push_str(line);
                block.push('\n');
            }
            (None, _) => {}
        }
    }
    assert!(open.is_none(), "a ```yaml text has no end");
    blocks
}

fn documents(place: &str, text: &str) -> Vec<Value> {
    text.split("\n---\n")
        .filter(|d| d.lines().any(|l| !l.trim().is_empty() && !l.trim_start().starts_with('#')))
        .map(|d| serde_saphyr::from_str(d).unwrap_or_else(|e| panic!("{place}: not YAML: {e}")))
        .collect()
}

/// All objects of medley's group that anybody is shown.
fn shown() -> Vec<Shown> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = vec![root.join("README.md")];
    files(&root.join("docs"), &mut all);
    files(&root.join("examples"), &mut all);
    let mut objects = Vec::new();
    for path in all {
        let name = path.strip_prefix(root).unwrap().display().to_string();
        let text = fs::read_to_string(&path).unwrap();
        let blocks = if name.ends_with(".md") { fenced(&text) } else { vec![(1, text)] };
        for (line, block) in blocks {
            let place = format!("{name}:{line}");
            let values = documents(&place, &block).into_iter().filter(|v| v["apiVersion"] == API_VERSION);
            objects.extend(values.map(|value| Shown { place: place.clone(), value }));
        }
    }
    objects
}

/// Fields of `given` that `read` does not have, by path.
fn lost(path: &str, given: &Value, read: &Value, found: &mut Vec<String>) {
    match (given, read) {
        (Value::Object(given), Value::Object(read)) => {
            for (key, value) in given {
                match read.get(key) {
                    Some(other) => lost(&format!("{path}.{key}"), value, other, found),
                    None => found.push(format!("{path}.{key}")),
                }
            }
        }
        (Value::Array(given), Value::Array(read)) if given.len() == read.len() => {
            for (i, (a, b)) in given.iter().zip(read).enumerate() {
                lost(&format!("{path}[{i}]"), a, b, found);
            }
        }
        (Value::Array(_), _) | (_, Value::Array(_)) | (Value::Object(_), _) | (_, Value::Object(_)) => {
            found.push(path.to_owned())
        }
        _ => {}
    }
}

fn read<K: DeserializeOwned + Serialize>(value: &Value) -> Result<K, String> {
    let object: K = serde_json::from_value(value.clone()).map_err(|e| e.to_string())?;
    let mut found = Vec::new();
    lost("", value, &serde_json::to_value(&object).unwrap(), &mut found);
    if found.is_empty() { Ok(object) } else { Err(format!("no such field: {}", found.join(", "))) }
}

/// What is wrong with an object; the step actions or backends that it shows when nothing is.
fn check(value: &Value) -> Result<Vec<&'static str>, String> {
    match value["kind"].as_str() {
        Some("MedicalService") => {
            let spec = read::<MedicalService>(value)?.spec;
            let backends = [
                ("workload", spec.workload.is_some()),
                ("select", spec.select.is_some()),
                ("external", spec.external.is_some()),
            ];
            let set: Vec<_> = backends.into_iter().filter(|(_, set)| *set).map(|(name, _)| name).collect();
            if set.len() == 1 {
                Ok(set)
            } else {
                Err("exactly one of workload, select and external must be set".to_owned())
            }
        }
        Some("Workflow") => {
            let workflow = read::<Workflow>(value)?;
            let definition = Definition::parse(&workflow.spec)
                .map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))?;
            let action = |a: &Action| match a {
                Action::Call(_) => "call",
                Action::Container(_) => "container",
                Action::Transform(_) => "transform",
                Action::Wait(_) => "wait",
                Action::Child(_) => "workflow",
            };
            Ok(definition.every_step().map(|s| action(&s.action)).collect())
        }
        Some("WorkflowRun") => read::<WorkflowRun>(value).map(|_| vec!["run"]),
        Some("CapacityPool") => read::<CapacityPool>(value).map(|_| vec!["pool"]),
        Some("ServiceQuery") => read::<ServiceQuery>(value).map(|_| vec!["query"]),
        Some("ServicePolicy") => read::<ServicePolicy>(value).map(|_| vec!["policy"]),
        other => Err(format!("there is no kind {other:?}")),
    }
}

#[test]
fn every_object_that_is_shown_can_be_read() {
    let objects = shown();
    let faults: Vec<String> = objects
        .iter()
        .filter_map(|o| check(&o.value).err().map(|e| format!("{}: {}: {e}", o.place, o.value["kind"])))
        .collect();
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
    for file in ["README.md", "docs/concepts.md", "examples/ct-quality/workflow.yaml"] {
        assert!(objects.iter().any(|o| o.place.starts_with(file)), "{file} shows no object");
    }
}

#[test]
fn the_concepts_show_each_action_and_each_backend() {
    let shown: BTreeSet<&str> = shown()
        .iter()
        .filter(|o| o.place.starts_with("docs/concepts.md"))
        .flat_map(|o| check(&o.value).unwrap_or_else(|e| panic!("{}: {e}", o.place)))
        .collect();
    let backends = ["workload", "select", "external"];
    let actions = ["call", "container", "transform", "wait", "workflow"];
    let all: BTreeSet<&str> = backends.into_iter().chain(actions).chain(["run", "pool", "policy", "query"]).collect();
    assert_eq!(shown, all);
}

#[test]
fn a_run_gives_the_parameters_that_its_workflow_declares() {
    let objects = shown();
    let mut checked = 0;
    for run in objects.iter().filter(|o| o.value["kind"] == "WorkflowRun") {
        let run_spec = read::<WorkflowRun>(&run.value).unwrap().spec;
        let of_run = |o: &&Shown| {
            let folder = |s: &Shown| {
                s.place.rsplit_once('/').map_or(s.place.split(':').next(), |(f, _)| Some(f)).map(str::to_owned)
            };
            let near = folder(run).zip(folder(o)).is_some_and(|(a, b)| a.starts_with(&b));
            near && o.value["kind"] == "Workflow" && o.value["metadata"]["name"] == run_spec.workflow.as_str()
        };
        let workflow = objects
            .iter()
            .find(of_run)
            .unwrap_or_else(|| panic!("{}: no Workflow `{}` is shown beside it", run.place, run_spec.workflow));
        let declared = read::<Workflow>(&workflow.value).unwrap().spec.parameters;
        let resolved = medley::core::coordination::parameters::resolve(&declared, &run_spec.parameters);
        assert!(resolved.is_ok(), "{}: {}", run.place, resolved.unwrap_err());
        checked += 1;
    }
    assert!(checked > 0);
}

#[test]
fn what_is_wrong_is_found() {
    let call = |step: Value| serde_json::json!({"apiVersion": API_VERSION, "kind": "Workflow", "metadata": {"name": "x"}, "spec": {"steps": [step]}});
    let good = call(serde_json::json!({"name": "a", "wait": {"for": "1s"}}));
    assert_eq!(check(&good), Ok(vec!["wait"]));
    for (step, message) in [
        (
            serde_json::json!({"name": "a", "wait": {"for": "1s"}, "colour": "red"}),
            "no such field: .spec.steps[0].colour",
        ),
        (serde_json::json!({"name": "a", "wait": {"for": "soon"}}), "not a length of time"),
        (serde_json::json!({"name": "a", "transform": {"expression": "params.none"}}), "not declared"),
        (serde_json::json!({"name": "a"}), "exactly one of"),
    ] {
        let error = check(&call(step)).unwrap_err();
        assert!(error.contains(message), "{error}");
    }
    assert_eq!(fenced("a\n```yaml\nb: 1\n```\n```\nc\n```\n"), [(3, "b: 1\n".to_owned())]);
}

/// Links to files of this repository, with the file that has them.
#[test]
fn links_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all: Vec<PathBuf> =
        ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"].iter().map(|f| root.join(f)).collect();
    files(&root.join("docs"), &mut all);
    files(&root.join("examples"), &mut all);
    let mut broken = Vec::new();
    // the generated reference has no links, and patterns that look like some
    let written =
        |p: &&PathBuf| p.extension().is_some_and(|e| e == "md") && !p.starts_with(root.join("docs/reference"));
    for path in all.iter().filter(written) {
        let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        // what stands in code is no link
        let prose: String = text.split('`').step_by(2).collect();
        for link in prose.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap_or_default();
            if !target.is_empty() && !target.contains("://") && !path.parent().unwrap().join(target).exists() {
                broken.push(format!("{}: {link}", path.strip_prefix(root).unwrap().display()));
            }
        }
    }
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

/// A comparison stands on what tests show: whoever renames or removes one of them changes it too.
#[test]
fn the_tests_that_the_comparison_names_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = Vec::new();
    let mut folders = vec![root.join("tests"), root.join("src"), root.join("benches")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                sources.push(fs::read_to_string(path).unwrap());
            }
        }
    }
    let page = fs::read_to_string(root.join("docs/comparison.md")).unwrap();
    let code = page.split('`').skip(1).step_by(2);
    let named: BTreeSet<&str> = code.filter(|c| c.contains('_') && !c.contains([' ', '.', '/'])).collect();
    assert!(named.len() > 20, "{named:?}");
    let gone: Vec<&&str> = named.iter().filter(|n| !sources.iter().any(|s| s.contains(&format!("fn {n}(")))).collect();
    assert!(gone.is_empty(), "no such tests: {gone:?}");
    let targets = fs::read_to_string(root.join("Makefile")).unwrap();
    for target in page.split("`make ").skip(1).filter_map(|rest| rest.split(['`', ' ']).next()) {
        assert!(targets.contains(&format!("\n{target}:")), "no such target: {target}");
    }
}
