//! Does `medley lint` find every mistake, each with its line and column, and nothing in what is right? Over the bad objects
//! of the schema tables, over a table of mistakes that only lint can see, and over everything that the documentation shows.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

#[path = "schema/table.rs"]
#[allow(dead_code, reason = "changes of stored objects are the API server's business alone")]
mod table;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use medley::core::lint::{Finding, Linter, Severity, Source};
use serde::Deserialize;
use table::{Case, Cause, Table};

/// One text with its mistakes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mistake {
    case: String,
    /// Spec of a Workflow.
    spec: Option<String>,
    /// A whole file.
    text: Option<String>,
    /// Beyond what is named there is nothing to say of its own objects, not even a note.
    #[serde(default)]
    silent: bool,
    finds: Vec<(String, String, String, String)>,
}

/// Marks of places in the tables.
const MARKS: &str = "①②③④⑤⑥⑦⑧";

/// Rules that a schema, or the text's form alone, decides.
const STRUCTURAL: [&str; 6] = ["yaml", "duplicate-key", "kind", "unknown-field", "schema", "rule"];

fn found(linter: &Linter, text: &str) -> Vec<Finding> {
    linter.lint(&[Source { name: "file.yaml", text }]).findings
}

/// The text without its marks, and line and column of each.
fn unmarked(text: &str) -> (String, Vec<(char, usize, usize)>) {
    let (mut plain, mut places) = (String::new(), Vec::new());
    for (l, line) in text.lines().enumerate() {
        let mut column = 1;
        for c in line.chars() {
            if MARKS.contains(c) {
                places.push((c, l + 1, column));
            } else {
                plain.push(c);
                column += 1;
            }
        }
        plain.push('\n');
    }
    (plain, places)
}

/// How many mistakes of a case were found, and how many of these are errors that no schema tells.
fn compare(linter: &Linter, mistake: &Mistake) -> Result<(usize, usize), String> {
    let text = mistake.text.clone().unwrap_or_else(|| {
        let head = "apiVersion: medley.health/v1alpha1\nkind: Workflow\nmetadata: {name: w}\nspec:\n";
        let spec = mistake.spec.as_ref().unwrap().lines().map(|l| format!("  {l}\n")).collect::<String>();
        head.to_owned() + &spec
    });
    let (plain, places) = unmarked(&text);
    let mut left = found(linter, &plain);
    let mut missing = Vec::new();
    for (mark, severity, rule, words) in &mistake.finds {
        let (_, line, column) = places.iter().find(|(c, ..)| mark.starts_with(*c)).unwrap();
        let fits = |f: &Finding| {
            (f.line, f.column) == (*line, *column)
                && f.severity.as_str() == severity
                && f.rule == rule
                && f.to_string().contains(words.as_str())
        };
        match left.iter().position(fits) {
            Some(i) => drop(left.remove(i)),
            None => missing.push(format!("{line}:{column} {severity} {rule}: {words}")),
        }
    }
    // what is not among the files is always noted
    left.retain(|f| f.severity != Severity::Note || (mistake.silent && f.rule != "reference"));
    let named: Vec<char> = mistake.finds.iter().filter_map(|f| f.0.chars().next()).collect();
    assert!(places.iter().all(|(c, ..)| named.contains(c)), "{}: a mark that nothing names", mistake.case);
    if missing.is_empty() && left.is_empty() {
        let semantic = mistake.finds.iter().filter(|f| f.1 == "error" && !STRUCTURAL.contains(&f.2.as_str()));
        return Ok((mistake.finds.len(), semantic.count()));
    }
    let others: Vec<String> = found(linter, &plain).iter().map(ToString::to_string).collect();
    Err(format!("- {}\n  missing: {missing:#?}\n  found: {others:#?}", mistake.case))
}

#[test]
fn every_mistake_is_found_at_its_place_and_nothing_else() {
    let linter = Linter::default();
    let (mut wrong, mut all, mut semantic) = (Vec::new(), 0, 0);
    for text in [
        include_str!("lint/expressions.yaml"),
        include_str!("lint/flow.yaml"),
        include_str!("lint/items.yaml"),
        include_str!("lint/objects.yaml"),
    ] {
        let mistakes: Vec<Mistake> = serde_saphyr::from_str(text).unwrap();
        for mistake in &mistakes {
            match compare(&linter, mistake) {
                Ok((n, of_meaning)) => {
                    all += n;
                    semantic += of_meaning;
                }
                Err(difference) => wrong.push(difference),
            }
        }
    }
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));
    println!("{all} mistakes found at their line and column, {semantic} of them semantic errors");
    assert!(semantic >= 40, "only {semantic} semantic errors were looked for");
    assert!(all >= 140, "only {all} mistakes were looked for");
}

/// The field that lint names for a cause of the API server; nothing where another cause of the same case covers it.
fn expected(cause: &Cause) -> Option<(String, &'static str)> {
    let Cause(field, words) = cause;
    if let Some((_, rest)) = words.split_once("unknown field \"") {
        return Some((rest.trim_end_matches('"').to_owned(), "unknown-field"));
    }
    if words.contains("evaluating rule") || words.starts_with("Checked value") {
        return None;
    }
    if words.starts_with("after may name only") || words.starts_with("after of a step in finally") {
        // the server points at the whole list, lint at the step
        return Some((format!("{field}["), "definition"));
    }
    match (field.as_str(), words.split_once(": ")) {
        ("<nil>", Some((path, _))) => Some((path.to_owned(), "rule")),
        _ => Some((field.clone(), "")),
    }
}

/// What stands at a place of a text.
fn at(text: &str, line: usize, column: usize) -> String {
    text.lines().nth(line - 1).unwrap_or_default().chars().skip(column - 1).collect()
}

/// Whether a place is that of a field: its key, its value, or, of a field that is missing, the key or the start of what it
/// should be in.
fn is_place_of(text: &str, object: &serde_json::Value, finding: &Finding) -> bool {
    let stands = at(text, finding.line, finding.column);
    let pointer: String = finding.field.replace(['.', '['], "/").replace(']', "");
    let key = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    let begins = |path: &str| {
        let key = key(path);
        stands.starts_with(&format!("{key}:")) || stands.starts_with(&format!("\"{key}\":"))
    };
    let pointer = format!("/{pointer}");
    if begins(&pointer) {
        return true;
    }
    let parent = pointer.rsplit_once('/').map_or("", |(p, _)| p).to_owned();
    match object.pointer(&pointer) {
        Some(value) if !value.is_object() && !value.is_array() => {
            let plain = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let shown = stands.trim_start_matches(['"', '\'', '|', '>']);
            // long texts are folded over lines, keys with dots have no pointer
            plain.is_empty() || shown.is_empty() || shown.starts_with(&plain.chars().take(8).collect::<String>())
        }
        // an item of a list: its first key, or itself
        Some(_) => key(&pointer).parse::<usize>().is_ok(),
        // the object as a whole is where its first key is
        None if parent.is_empty() => (finding.line, finding.column) == (1, 1),
        None => begins(&parent) || key(&parent).parse::<usize>().is_ok() || finding.field.contains('/'),
    }
}

fn schema_table(linter: &Linter, plural: &str, kind: &str, text: &str) -> (usize, Vec<String>) {
    let table: Table = serde_saphyr::from_str(text).unwrap();
    let (mut bad, mut wrong) = (0, Vec::new());
    let of_objects = |c: &&Case| c.then.is_none();
    for (number, case) in table.cases.iter().enumerate().filter(|(_, c)| of_objects(c)) {
        let object = table.object(case, kind, &format!("case{number}"));
        let text = serde_saphyr::to_string(&object).unwrap();
        let findings: Vec<Finding> =
            found(linter, &text).into_iter().filter(|f| f.severity == Severity::Error).collect();
        let shown = || findings.iter().map(ToString::to_string).collect::<Vec<_>>();
        if case.refused.is_empty() {
            // what the operator would say of it is another matter
            if findings.iter().any(|f| matches!(f.rule, "schema" | "rule" | "unknown-field")) {
                wrong.push(format!("- {plural}: {}: the server accepts it, lint says {:#?}", case.case, shown()));
            }
            continue;
        }
        bad += 1;
        let causes: Vec<_> = case.refused.iter().filter_map(expected).collect();
        if causes.is_empty() {
            wrong.push(format!("- {plural}: {}: no cause of it has a place", case.case));
        }
        for (field, rule) in causes {
            let fits = |f: &&Finding| {
                let same = f.field == field || (rule == "definition" && f.field.starts_with(&field));
                same && (rule.is_empty() || f.rule == rule || f.rule == "schema")
            };
            match findings.iter().find(fits) {
                None => wrong.push(format!("- {plural}: {}: nothing at {field}: {:#?}", case.case, shown())),
                Some(f) if !is_place_of(&text, &object, f) => {
                    let stands = at(&text, f.line, f.column);
                    wrong.push(format!("- {plural}: {}: {f} points at `{stands}`", case.case));
                }
                Some(_) => {}
            }
        }
    }
    (bad, wrong)
}

#[test]
fn every_bad_object_of_the_schema_tables_is_found_at_its_field() {
    let linter = Linter::default();
    let (mut bad, mut wrong) = (0, Vec::new());
    for (plural, kind, text) in [
        ("medicalservices", "MedicalService", include_str!("schema/medicalservices.yaml")),
        ("servicequeries", "ServiceQuery", include_str!("schema/servicequeries.yaml")),
        ("workflows", "Workflow", include_str!("schema/workflows.yaml")),
        ("workflowruns", "WorkflowRun", include_str!("schema/workflowruns.yaml")),
    ] {
        let (n, faults) = schema_table(&linter, plural, kind, text);
        bad += n;
        wrong.extend(faults);
    }
    assert!(wrong.is_empty(), "{} of {bad} cases:\n{}", wrong.len(), wrong.join("\n"));
    println!("{bad} bad objects of the schema tables found at their fields");
    assert!(bad >= 120, "only {bad} bad objects were looked at");
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn markdown(folder: &Path, all: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            markdown(&path, all);
        } else if path.extension().is_some_and(|e| e == "md") {
            all.push(path);
        }
    }
}

/// The fenced YAML of a page, with everything else as empty lines, so that lines stay what they are.
fn fenced(text: &str) -> String {
    let (mut out, mut inside, mut first) = (String::new(), false, true);
    for line in text.lines() {
        match (inside, line.trim_start()) {
            (false, "```yaml") => {
                out.push_str(if first { "" } else { "---" });
                (inside, first) = (true, false);
            }
            (true, "```") => inside = false,
            (true, _) => out.push_str(line),
            (false, _) => {}
        }
        out.push('\n');
    }
    out
}

#[test]
fn what_the_documentation_shows_is_clean() {
    let mut pages = vec![root().join("README.md")];
    markdown(&root().join("docs"), &mut pages);
    markdown(&root().join("examples"), &mut pages);
    let texts: Vec<(String, String)> =
        pages.iter().map(|p| (p.display().to_string(), fenced(&fs::read_to_string(p).unwrap()))).collect();
    let linter = Linter::default();
    let mut objects = 0;
    for (name, text) in &texts {
        let report = linter.lint(&[Source { name, text }]);
        let wrong: Vec<String> =
            report.findings.iter().filter(|f| f.severity != Severity::Note).map(ToString::to_string).collect();
        assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
        objects += report.objects;
    }
    assert!(objects >= 7, "only {objects} objects are shown");
}

fn medley(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_medley")).args(arguments).current_dir(root()).output().unwrap()
}

#[test]
fn the_examples_are_clean_and_the_command_says_so() {
    let output = medley(&["lint", "examples"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(!text.contains("warning"), "{text}");
    assert!(text.lines().last().unwrap().contains("objects in "), "{text}");
}

#[test]
fn the_command_fails_for_errors_alone_and_speaks_json() {
    let folder = std::env::temp_dir().join(format!("medley-lint-{}", std::process::id()));
    fs::create_dir_all(folder.join("chart/templates")).unwrap();
    let write = |name: &str, when: &str| {
        let text = format!(
            "apiVersion: medley.health/v1alpha1\nkind: Workflow\nmetadata: {{name: w}}\nspec:\n  steps:\n  - name: a\n    when: {when}\n    wait: {{for: 1s}}\n"
        );
        fs::write(folder.join(name), text).unwrap();
        folder.join(name).display().to_string()
    };
    let bad = write("bad.yaml", "1 + 1");
    let doubtful = write("doubtful.yaml", "1 > 2");
    fs::write(folder.join("chart/Chart.yaml"), "name: x\n").unwrap();
    fs::write(folder.join("chart/templates/a.yaml"), "{{- if .Values.x }}\n").unwrap();

    assert_eq!(medley(&["lint", &doubtful]).status.code(), Some(0));
    let output = medley(&["lint", &bad]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with(&format!("{bad}:7:11: error: spec.steps[0].when: ")), "{text}");
    assert!(text.ends_with("1 object in 1 file: 1 error\n"), "{text}");

    let output = medley(&["lint", "--format", "json", folder.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let kinds: Vec<_> =
        report["findings"].as_array().unwrap().iter().map(|f| (&f["rule"], &f["line"], &f["column"])).collect();
    // both files hold the same object
    assert_eq!(kinds.len(), 3, "{report:#}");
    assert_eq!(report["objects"], 2);

    assert_eq!(medley(&["lint", "no-such-file.yaml"]).status.code(), Some(1));
    let none = medley(&["lint", folder.join("chart/templates").parent().unwrap().join("none").to_str().unwrap()]);
    assert!(String::from_utf8_lossy(&none.stderr).contains("cannot read"));
    fs::remove_dir_all(&folder).unwrap();
}
