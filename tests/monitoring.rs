//! Do alerts and dashboards speak of series that there are, has every alert a runbook, and do alerts come when they should and at no
//! other time? The last is for `promtool`, which `make test-peers` installs.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

#[path = "monitoring/known.rs"]
mod known;
#[path = "monitoring/promql.rs"]
mod promql;
#[allow(dead_code, reason = "shared with the tests of the charts, which use more of it")]
#[path = "charts/tools.rs"]
mod tools;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use promql::Named;
use tools::{ROOT, chart_dir, documents, read, render, run, scratch, text};

/// Labels that the scrape of a ServiceMonitor adds.
const OF_THE_TARGET: [&str; 3] = ["job", "namespace", "pod"];
/// Alerts and series as promtool's tests have them, files of `tests/monitoring`.
const ALERTS: [&str; 2] = ["alerts.yaml", "objectives.yaml"];

/// `spec` of the PrometheusRule.
fn rules(values: &Value) -> Value {
    let values = json!({"prometheusRule": values});
    let found = documents(&render("medley", &values)).into_iter().find(|o| o["kind"] == "PrometheusRule");
    found.expect("a PrometheusRule is rendered")["spec"].clone()
}

/// All rules of all groups.
fn each_rule(spec: &Value) -> Vec<Value> {
    let groups = spec["groups"].as_array().unwrap().iter();
    groups.flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

/// Names of all alerts.
fn alerts(spec: &Value) -> BTreeSet<String> {
    each_rule(spec).iter().filter_map(|rule| rule["alert"].as_str().map(str::to_owned)).collect()
}

/// What can be asked for: what the operator shows, and what the rules record of it.
fn known_series(spec: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let mut known = known::series(&known::touched());
    let recorded = each_rule(spec).into_iter().filter_map(|rule| rule["record"].as_str().map(str::to_owned));
    let labels = BTreeSet::from(["namespace".to_owned(), "service".to_owned()]);
    known.extend(recorded.map(|name| (name, labels.clone())));
    known
}

/// Fails unless all that an expression names is known, each label as one of the series named.
fn check(place: &str, expression: &str, known: &BTreeMap<String, BTreeSet<String>>) {
    let named = Named::of(expression);
    assert!(!named.series.is_empty(), "{place}: `{expression}` asks for nothing");
    let mut labels: BTreeSet<&str> = OF_THE_TARGET.into();
    for series in &named.series {
        let found = known.get(series).unwrap_or_else(|| panic!("{place}: `{series}` is not shown by the operator"));
        labels.extend(found.iter().map(String::as_str));
    }
    let stray: Vec<_> = named.labels.iter().filter(|label| !labels.contains(label.as_str())).collect();
    assert!(stray.is_empty(), "{place}: {stray:?} are no labels of {:?}", named.series);
}

fn dashboards() -> Vec<(PathBuf, Value)> {
    let entries = fs::read_dir(chart_dir("medley").join("dashboards")).unwrap();
    entries.map(|e| e.unwrap().path()).map(|path| (path.clone(), serde_json::from_str(&read(&path)).unwrap())).collect()
}

#[test]
fn alerts_ask_for_series_that_the_operator_shows() {
    let spec = rules(&json!({"enabled": true}));
    let known = known_series(&spec);
    let all = each_rule(&spec);
    assert!(all.len() > 20, "the rules were not found");
    for rule in all {
        let name = rule["alert"].as_str().or(rule["record"].as_str()).unwrap();
        check(name, rule["expr"].as_str().unwrap(), &known);
    }
}

#[test]
fn dashboards_ask_for_series_that_the_operator_shows() {
    let known = known_series(&rules(&json!({"enabled": true})));
    let (mut names, mut uids) = (BTreeSet::new(), BTreeSet::new());
    for (path, dashboard) in dashboards() {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let uid = dashboard["uid"].as_str().unwrap();
        assert!(uid.len() <= 40 && uids.insert(uid.to_owned()), "{name}: the uid is too long, or another's");
        let mut variables = BTreeSet::from(["__rate_interval".to_owned()]);
        for variable in dashboard["templating"]["list"].as_array().unwrap() {
            variables.insert(variable["name"].as_str().unwrap().to_owned());
            if variable["type"] == "query" {
                check(&name, variable["query"]["query"].as_str().unwrap(), &known);
            }
        }
        let panels = dashboard["panels"].as_array().unwrap();
        assert!(panels.len() >= 4, "{name}: the panels were not found");
        for panel in panels {
            let place = format!("{name}: {}", panel["title"]);
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{place}: the data source is the reader's choice");
            for target in panel["targets"].as_array().unwrap() {
                let expression = target["expr"].as_str().unwrap();
                check(&place, expression, &known);
                for used in expression.split('$').skip(1) {
                    let used: String = used.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                    assert!(variables.contains(&used), "{place}: there is no variable `{used}`");
                }
            }
        }
        names.insert(name);
    }
    assert_eq!(names, ["operator", "scheduling", "services", "workflows"].map(str::to_owned).into());
}

#[test]
fn dashboards_are_installed_unchanged_where_grafana_looks_for_them() {
    let rendered = documents(&render("medley", &json!({"dashboards": {"enabled": true}})));
    let maps: Vec<_> = rendered.iter().filter(|o| o["kind"] == "ConfigMap").collect();
    let files = dashboards();
    assert_eq!(maps.len(), files.len());
    for (path, dashboard) in files {
        let name = format!("medley-{}", path.file_name().unwrap().to_str().unwrap());
        let map = maps.iter().find(|m| m["data"].get(&name).is_some()).unwrap_or_else(|| panic!("no map has {name}"));
        assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1", "{name}");
        let installed: Value = serde_json::from_str(map["data"][&name].as_str().unwrap()).unwrap();
        assert_eq!(installed, dashboard, "{name}");
    }
}

#[test]
fn every_alert_has_a_runbook_and_points_to_it() {
    let spec = rules(&json!({"enabled": true, "runbookUrl": "https://example.org/runbooks"}));
    let runbooks = read(&Path::new(ROOT).join("docs/runbooks.md"));
    let headings: Vec<_> = runbooks.lines().filter_map(|l| l.strip_prefix("## ")).map(str::to_owned).collect();
    let sections: BTreeSet<_> = headings.iter().cloned().collect();
    assert_eq!(headings.len(), sections.len(), "an alert has two sections");
    assert_eq!(sections, alerts(&spec), "sections of docs/runbooks.md and alerts of the chart");
    for rule in each_rule(&spec).iter().filter(|rule| rule["alert"].is_string()) {
        let name = rule["alert"].as_str().unwrap();
        let anchor = format!("https://example.org/runbooks#{}", name.to_lowercase());
        assert_eq!(rule["annotations"]["runbook_url"], anchor, "{name}");
        assert!(rule["annotations"]["summary"].as_str().is_some_and(|s| s.ends_with('.')), "{name}: no summary");
        assert!(["critical", "warning"].contains(&rule["labels"]["severity"].as_str().unwrap()), "{name}");
    }
    for section in runbooks.split("\n## ").skip(1) {
        for part in ["**What suffers.** ", "**Look.** ", "**Do.** "] {
            assert!(section.contains(part), "{}: has no {part}", section.lines().next().unwrap());
        }
    }
}

#[test]
fn the_series_of_promtools_tests_are_those_of_the_operator() {
    let spec = rules(&json!({"enabled": true}));
    let known = known_series(&spec);
    let mut fired = BTreeSet::new();
    let files = ALERTS.map(|file| read(&Path::new(ROOT).join("tests/monitoring").join(file)));
    let files: Vec<Value> = files.iter().map(|text| serde_saphyr::from_str(text).unwrap()).collect();
    for test in files.iter().flat_map(|tests| tests["tests"].as_array().unwrap()) {
        for series in test["input_series"].as_array().into_iter().flatten() {
            check(test["name"].as_str().unwrap(), series["series"].as_str().unwrap(), &known);
        }
        let expected = test["promql_expr_test"].as_array().unwrap().iter();
        for sample in expected.flat_map(|e| e["exp_samples"].as_array().cloned().unwrap_or_default()) {
            let labels = sample["labels"].as_str().unwrap();
            let name = labels.split("alertname=\"").nth(1).and_then(|rest| rest.split('"').next());
            fired.insert(name.expect("an alert has a name").to_owned());
        }
    }
    assert_eq!(fired, alerts(&spec), "alerts that come in a test, and alerts that there are");
}

#[test]
#[ignore = "needs promtool: run by `make test-peers`"]
fn alerts_come_when_they_should_and_at_no_other_time() {
    let dir = scratch("rules");
    fs::write(dir.join("rules.yaml"), rules(&json!({"enabled": true})).to_string()).unwrap();
    for file in ALERTS {
        fs::copy(Path::new(ROOT).join("tests/monitoring").join(file), dir.join(file)).unwrap();
    }
    for arguments in [vec!["check", "rules", "rules.yaml"], [&["test", "rules"], &ALERTS[..]].concat()] {
        let out = run(Command::new("promtool").args(&arguments).current_dir(&dir));
        assert!(out.status.success(), "{arguments:?}: {}", text(&out));
    }
}

#[test]
#[ignore = "needs promtool: run by `make test-peers`"]
fn every_query_of_the_dashboards_is_promql() {
    let mut queries = Vec::new();
    for (_, dashboard) in dashboards() {
        for panel in dashboard["panels"].as_array().unwrap() {
            for target in panel["targets"].as_array().unwrap() {
                let query = target["expr"].as_str().unwrap().replace("$__rate_interval", "2m");
                queries.push(json!({"record": format!("query_{}", queries.len()), "expr": query}));
            }
        }
    }
    let file = scratch("queries").join("queries.yaml");
    fs::write(&file, json!({"groups": [{"name": "queries", "rules": queries}]}).to_string()).unwrap();
    let out = run(Command::new("promtool").args(["check", "rules"]).arg(&file));
    assert!(out.status.success(), "{}", text(&out));
}
