//! A chain of calls: status writes a run, and the time from a step's answer to the next step's request.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{Path, State},
    routing::get,
};
use serde_json::json;

use crate::{
    common::{
        figures::{Figures, quantile},
        link::{ADDRESS, Link},
        observer::Observer,
    },
    support::{operator::Operator, requests::asked, stage::Stage},
};

const RUNS: usize = 200;
const STEPS: usize = 5;
const LIMIT: Duration = Duration::from_secs(60);

/// When the request for each step of a run came in and was answered.
type Times = Arc<Mutex<HashMap<String, Vec<(Instant, Instant)>>>>;

/// 200 runs of five calls, each after the one before: one run after the other, and four under way together.
pub(crate) async fn chain(stage: &Stage, link: &Result<Link, String>, figures: &mut Figures) {
    for together in [1, 4] {
        chains(stage, link, together, figures).await;
    }
}

async fn chains(stage: &Stage, link: &Result<Link, String>, together: usize, figures: &mut Figures) {
    let name = format!("chain of {STEPS} calls x {RUNS} runs, {together} together");
    if let Err(reason) = link {
        return figures.skipped(&name, reason);
    }
    let times = Times::default();
    let app = Router::new()
        .route("/health", get(|| async { "well" }))
        .route("/{run}/{step}", get(answer))
        .with_state(Arc::clone(&times));
    let listener = tokio::net::TcpListener::bind((ADDRESS, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });

    let operator = Operator::leading(stage, "one").await;
    let space = stage.namespace(&format!("bench-calls-{together}"));
    let steps: Vec<_> = (0..STEPS)
        .map(|n| {
            let mut step = json!({ "name": format!("s{n}"), "call": { "service": "peer", "http": { "path": format!("/$( params.run )/{n}") } } });
            if n > 0 {
                step["after"] = json!([format!("s{}", n - 1)]);
            }
            step
        })
        .collect();
    for object in [
        json!({ "apiVersion": "medley.health/v1alpha1", "kind": "MedicalService", "metadata": { "name": "peer" }, "spec": {
            "external": { "endpoints": [{ "host": ADDRESS }] },
            "interfaces": [{ "name": "http", "port": port, "protocol": "HTTP", "http": { "healthPath": "/health" },
                             "probe": { "level": "Protocol", "interval": "10s" } }] } }),
        json!({ "apiVersion": "medley.health/v1alpha1", "kind": "Workflow", "metadata": { "name": "chain" }, "spec": {
            "parameters": [{ "name": "run", "type": "String", "required": true }], "steps": steps } }),
    ] {
        stage.apply(&space, &object.to_string());
    }
    stage.ready(&space, "mwf/chain");
    stage.kubectl(&["wait", "-n", &space, "--for=condition=Reachable", "msvc/peer", "--timeout=30s"]);
    let mut observer = Observer::of(stage, &space, false);
    let begun = Instant::now();
    for first in (0..RUNS).step_by(together) {
        for number in first..first + together {
            let run = format!("run-{number}");
            let spec = serde_json::from_value(json!({ "workflow": "chain", "parameters": { "run": run } })).unwrap();
            stage.runs(&space).create(&Default::default(), &medley::api::WorkflowRun::new(&run, spec)).await.unwrap();
        }
        observer.ended(first + together, LIMIT).await;
    }
    let took = begun.elapsed();
    let requests = asked(stage).await;
    let mut writes: HashMap<&str, f64> = HashMap::new();
    for a in requests.iter().filter(|a| {
        a.user == operator.user && a.namespace == space && a.is_write() && a.resource == "workflowruns/status"
    }) {
        *writes.entry(&a.name).or_default() += 1.0;
    }
    let seen = times.lock().unwrap().clone();
    assert_eq!(seen.len(), RUNS);
    let mut gaps = Vec::new();
    for (run, calls) in &seen {
        assert_eq!(calls.len(), STEPS, "{run}: each step calls once");
        gaps.extend(calls.windows(2).map(|pair| pair[1].0.duration_since(pair[0].1).as_secs_f64() * 1000.0));
    }
    figures.at_most(
        &format!("{name}: most status writes"),
        writes.values().copied().fold(0.0, f64::max),
        "a run",
        STEPS as f64 + 1.0,
    );
    let median = format!("{name}: answer to next request, p50");
    if together == 1 {
        figures.at_most(&median, quantile(&mut gaps, 0.5), "ms", 10.0);
    } else {
        // more runs share the processors with the control plane
        figures.add(&median, quantile(&mut gaps, 0.5), "ms");
    }
    figures.add(&format!("{name}: answer to next request, p99"), quantile(&mut gaps, 0.99), "ms");
    figures.add(&format!("{name}: rate"), RUNS as f64 / took.as_secs_f64(), "runs/s");
    stage.remove_namespace(&space);
    operator.stop().await;
    serving.abort();
}

async fn answer(State(times): State<Times>, Path((run, _step)): Path<(String, usize)>) -> &'static str {
    let at = Instant::now();
    times.lock().unwrap().entry(run).or_default().push((at, Instant::now()));
    "{}"
}
