//! Signals: what the chart refuses, and whether the operator reads what it is told.

use std::process::Command;

use serde_json::{Value, json};

use super::{
    pod,
    tools::{helm_template, run, text},
};

#[test]
fn a_wrong_signal_is_refused_by_name() {
    let at = json!({"url": "http://prometheus:9090"});
    let twice = json!([{"name": "a", "expr": "b"}, {"name": "a", "expr": "c"}]);
    for (signals, wanted) in [
        (json!({"prometheus": {"url": "http://me:pw@p"}}), "/signals/prometheus/url"),
        (json!({"prometheus": {"url": "http://p", "caSecret": "a"}}), "must begin with https://"),
        (json!({"expressions": [{"name": "a", "expr": "up"}]}), "signals.prometheus.url must be set"),
        (json!({"prometheus": at, "expressions": [{"name": "a"}]}), "/signals/expressions/0"),
        (json!({"prometheus": at, "expressions": [{"name": "A", "expr": "up"}]}), "/signals/expressions/0/name"),
        (json!({"prometheus": at, "expressions": [{"name": "a", "expr": ""}]}), "/signals/expressions/0/expr"),
        (json!({"prometheus": at, "expressions": [{"name": "a", "expr": "up", "interval": "30"}]}), "/interval"),
        (json!({"prometheus": at, "expressions": twice}), "a is there twice"),
    ] {
        let out = helm_template("medley", &json!({"signals": signals}));
        assert!(!out.status.success(), "{signals} must be refused");
        assert!(text(&out).contains(wanted), "{signals}: wanted `{wanted}` in: {}", text(&out));
    }
}

/// The operator's last word, started with the variables of a pod's container, and no cluster.
fn started(pod: &Value) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_medley"));
    command.arg("operator").env("KUBECONFIG", "/nowhere").env_remove("KUBERNETES_SERVICE_HOST");
    for variable in pod["containers"][0]["env"].as_array().unwrap() {
        command.env(variable["name"].as_str().unwrap(), variable["value"].as_str().unwrap_or("a"));
    }
    text(&run(&mut command))
}

#[test]
fn the_operator_reads_what_the_chart_tells_of_signals() {
    let expression = "1 - load{job=~\"a$(b)\", path=\"\\\\d<&>\"}";
    let of = |interval: &str| {
        pod(&json!({"signals": {"prometheus": {"url": "http://prometheus:9090"},
            "expressions": [{"name": "free", "expr": expression, "interval": interval}]}}))
    };
    let pod = of("1m");
    let told = pod["containers"][0]["env"].as_array().unwrap().iter().find(|v| v["name"] == "MEDLEY_SIGNALS").unwrap();
    let told = told["value"].as_str().unwrap();
    assert!(!told.contains('$'), "the kubelet replaces variables: {told}");
    let read: Value = serde_json::from_str(told).unwrap();
    assert_eq!(read, json!([{"name": "free", "expr": expression, "interval": "1m"}]));
    let word = started(&pod);
    assert!(word.contains("there is no cluster to talk to"), "{word}");
    let word = started(&of("1s"));
    assert!(word.contains("--signals: interval of `free` must be from 5s to 10m"), "{word}");
}
