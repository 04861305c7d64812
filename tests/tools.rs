//! Do the commands of docs/tools.md do what the page says? Each is run, and what the page shows must come out.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn medley(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_medley")).args(arguments).current_dir(folder).output().unwrap()
}

fn text(output: &Output) -> String {
    let all = [output.stdout.clone(), output.stderr.clone()].concat();
    String::from_utf8(all).unwrap()
}

/// The indented texts of the page.
fn blocks() -> Vec<String> {
    let page = fs::read_to_string(root().join("docs/tools.md")).unwrap();
    let (mut blocks, mut open) = (Vec::new(), String::new());
    for line in page.lines().chain([""]) {
        match line.strip_prefix("    ") {
            Some(inside) => open.push_str(&format!("{inside}\n")),
            None if line.is_empty() && !open.is_empty() => open.push('\n'),
            None => {
                if !open.is_empty() {
                    blocks.push(format!("{}\n", open.trim_end()));
                }
                open.clear();
            }
        }
    }
    if !open.is_empty() {
        blocks.push(format!("{}\n", open.trim_end()));
    }
    blocks
}

fn scratch(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("medley-tools-{name}-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn what_the_page_shows_comes_out() {
    let folder = scratch("page");
    let blocks = blocks();
    let file = blocks.iter().find(|b| b.starts_with("apiVersion:")).unwrap();
    fs::write(folder.join("workflow.yaml"), file).unwrap();
    let mut shown = 0;
    for block in blocks.iter().filter(|b| b.starts_with("$ medley ")) {
        let (command, output) = block.split_once('\n').unwrap();
        // a command that goes on in the next line has no output on the page
        let (command, output) = match command.strip_suffix('\\') {
            Some(first) => (format!("{first} {}", output.trim()), String::new()),
            None => (command.to_owned(), output.to_owned()),
        };
        let arguments: Vec<&str> = command.split_whitespace().skip(2).collect();
        let is_there = arguments.iter().any(|a| a.starts_with("examples/"));
        let got = medley(if is_there { root() } else { &folder }, &arguments);
        assert!(is_there == got.status.success(), "{command}: {}", text(&got));
        assert!(text(&got).starts_with(&output), "{command}\npage:\n{output}\ngot:\n{}", text(&got));
        shown += 1;
    }
    assert!(shown >= 3, "only {shown} commands are shown");
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn graphs_come_in_each_form() {
    for (form, start) in
        [("mermaid", "---\ntitle: ct-quality\n"), ("dot", "digraph \"ct-quality\" {\n"), ("text", "ct-quality: ")]
    {
        let output = medley(root(), &["graph", "--format", form, "examples/ct-quality/workflow.yaml"]);
        assert!(output.status.success() && text(&output).starts_with(start), "{form}: {}", text(&output));
    }
    let none = medley(root(), &["graph", "--workflow", "other", "examples/ct-quality/workflow.yaml"]);
    assert!(!none.status.success() && text(&none).contains("there is no Workflow `other`"), "{}", text(&none));
    let none = medley(root(), &["graph", "examples/ct-quality/services.yaml"]);
    assert!(!none.status.success() && text(&none).contains("there is no Workflow of"), "{}", text(&none));
}

#[test]
fn a_command_that_fails_says_why_in_one_line() {
    let folder = scratch("empty");
    let program = env!("CARGO_BIN_EXE_medley");
    let failed = Command::new(program).arg("lint").arg(&folder).env("RUST_BACKTRACE", "1").output().unwrap();
    let wanted = format!("medley: {}: there is no .yaml or .yml file in this folder\n", folder.display());
    assert_eq!((failed.status.code(), text(&failed)), (Some(1), wanted));
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_simulation_tells_programs_what_it_tells_people() {
    let arguments = [
        "simulate",
        "examples/ct-quality/workflow.yaml",
        "--parameters",
        "study=abc",
        "--durations",
        "count=300ms",
        "measure=40s",
        "--fail",
        "measure=PodLost:1",
        "--outputs",
        "measure.noiseHu=21.5",
        "judge.text=good",
    ];
    let people = text(&medley(root(), &arguments));
    assert!(people.starts_with("ct-quality: Succeeded after 1m2"), "{people}");
    assert!(people.contains("note = \"good\""), "{people}");
    let output = medley(root(), &[&arguments[..], &["--format", "json"]].concat());
    let timeline: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(timeline["phase"], "Succeeded");
    let attempts: Vec<_> = timeline["attempts"].as_array().unwrap().iter().filter(|a| a["step"] == "measure").collect();
    assert_eq!(attempts.len(), 2, "{timeline:#}");
    assert_eq!((&attempts[0]["reason"], &attempts[0]["phase"]), (&"PodLost".into(), &"Retrying".into()));
    assert_eq!(attempts[1]["to"].as_i64().unwrap() - attempts[1]["from"].as_i64().unwrap(), 40_000);
}

#[test]
fn an_argument_that_fits_nothing_is_named() {
    let workflow = "examples/ct-quality/workflow.yaml";
    for (arguments, words) in [
        (&["--durations", "cuont=1s"][..], "did you mean `count`?"),
        (&["--durations", "count"], "`count` has no `=`"),
        (&["--durations", "count=soon"], "not a length of time"),
        (&["--fail", "count=Timeuot"], "did you mean Timeout?"),
        (&["--outputs", "count.images=many"], "`many` is no JSON, and the type is Integer"),
        (&["--outputs", "images=3"], "must be step.output"),
    ] {
        let output = medley(root(), &[&["simulate", workflow, "--parameters", "study=x"], arguments].concat());
        assert!(!output.status.success() && text(&output).contains(words), "{arguments:?}: {}", text(&output));
    }
    // the operator says what is wrong with parameters, and how the run ends for it
    let output = text(&medley(root(), &["simulate", workflow]));
    assert!(output.contains("InvalidParameters: spec.parameters.study: is required"), "{output}");
}

#[test]
fn a_step_for_many_items_is_simulated_with_what_is_said_of_one() {
    let folder = std::env::temp_dir().join(format!("medley-items-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let workflow = "apiVersion: medley.health/v1alpha1\nkind: Workflow\nmetadata: {name: w}\nspec:\n  steps:\n  - name: a\n    forEach: {count: 10, tolerate: \"1\"}\n    call: {service: s, http: {path: /}}\n";
    fs::write(folder.join("w.yaml"), workflow).unwrap();
    let arguments = ["simulate", "w.yaml", "--durations", "a=1s", "a[7]=4s", "--fail", "a[3]=Rejected:2"];
    let people = text(&medley(&folder, &arguments));
    assert!(people.starts_with("w: Succeeded after 4s\n"), "{people}");
    assert!(people.contains("│  10 items: 9 succeeded, 1 failed\n"), "{people}");
    let output = medley(&folder, &[&arguments[..], &["--format", "json"]].concat());
    let timeline: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let items = &timeline["attempts"][0]["items"];
    assert_eq!(
        (&items["total"], &items["succeeded"], &items["failures"][0]["index"]),
        (&10.into(), &9.into(), &3.into())
    );
    fs::remove_dir_all(&folder).unwrap();
}
