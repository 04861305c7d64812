//! Runs of one call to a local HTTP service, beside the bare loop.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use axum::{Router, routing::get};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::task::AbortHandle;

use super::{
    bare::{Template, create, load},
    common::{
        figures::{Figures, quantile},
        link::{ADDRESS, Link},
        observer::Observer,
        processor,
    },
    pods::{Cost, gone, tell},
    support::{operator::Operator, requests::asked, stage::Stage},
};

const RUNS: usize = 3000;
/// Runs one after the other, for the time that medley adds to a call.
const ALONE: usize = 50;
const LIMIT: Duration = Duration::from_secs(600);

/// Runs a minute of both, and what medley adds to a call.
pub(crate) async fn against_the_bare_loop(stage: &Stage, link: &Result<Link, String>, figures: &mut Figures) {
    if let Err(reason) = link {
        return figures.skipped("one-call runs", reason);
    }
    let peer = Peer::start().await;
    let steps = json!([{ "name": "ask", "call": { "service": "peer", "http": { "path": "/ask" } } }]);

    let space = stage.namespace("bench-bare-calls");
    peer.workflow(stage, &space, "one-call", &steps);
    let template = Template::learn(stage, &space, "one-call").await;
    let bare = {
        let mut observer = Observer::of(stage, &space, false);
        let (begun, used) = (Instant::now(), processor::of_all(stage, None));
        template.drive_calls(stage, &space, "one-call", RUNS, &format!("http://{ADDRESS}:{}/ask", peer.port)).await;
        observer.ended(RUNS + 1, LIMIT).await;
        Cost { took: begun.elapsed(), used: processor::of_all(stage, None) - used }
    };
    stage.remove_namespace(&space);
    gone(stage, &space).await;

    let operator = Operator::leading(stage, "one").await;
    let space = stage.namespace("bench-calls");
    peer.workflow(stage, &space, "one-call", &steps);
    peer.wait(stage, &space, "one-call");
    let medley = {
        let mut observer = Observer::of(stage, &space, false);
        let (begun, used) = (Instant::now(), processor::of_all(stage, Some(operator.pid())));
        load(stage, &space, "one-call", RUNS).await;
        observer.ended(RUNS, LIMIT).await;
        Cost { took: begun.elapsed(), used: processor::of_all(stage, Some(operator.pid())) - used }
    };
    stage.remove_namespace(&space);
    gone(stage, &space).await;
    tell(figures, &format!("{RUNS} one-call runs"), RUNS, &bare, &medley);

    let space = stage.namespace("bench-one-call");
    peer.workflow(stage, &space, "one-call", &steps);
    peer.wait(stage, &space, "one-call");
    let mut observer = Observer::of(stage, &space, false);
    for number in 0..ALONE {
        create(stage, &space, "one-call", &format!("run-{number}")).await;
        observer.ended(number + 1, LIMIT).await;
    }
    let (mut begun, mut over): (HashMap<String, Timestamp>, HashMap<String, Timestamp>) = Default::default();
    for request in asked(stage).await.into_iter().filter(|a| a.namespace == space && a.is_done()) {
        match (request.resource.as_str(), request.verb.as_str()) {
            ("workflowruns", "create") => drop(begun.insert(request.name, request.at)),
            ("workflowruns/status", "update") => drop(over.insert(request.name, request.answered)),
            _ => {}
        }
    }
    let mut beyond: Vec<f64> =
        begun.iter().map(|(run, at)| over[run].duration_since(*at).as_secs_f64() * 1000.0).collect();
    // the peer answers at once: what a run takes is what medley and the control plane add
    figures.at_most("one-call run, idle plane: beyond its call, p50", quantile(&mut beyond, 0.5), "ms", 15.0);
    figures.add("one-call run, idle plane: beyond its call, p99", quantile(&mut beyond, 0.99), "ms");
    stage.remove_namespace(&space);
    gone(stage, &space).await;
    operator.stop().await;
}

/// A service of this bench's own that answers at once.
pub(crate) struct Peer {
    pub(crate) port: u16,
    task: AbortHandle,
}

impl Peer {
    /// Serves at the link's address.
    pub(crate) async fn start() -> Self {
        let app = Router::new().route("/health", get(|| async { "well" })).route("/ask", get(|| async { "{}" }));
        let listener = tokio::net::TcpListener::bind((ADDRESS, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() }).abort_handle();
        Self { port, task }
    }

    /// Registers the service and a workflow of these steps.
    pub(crate) fn workflow(&self, stage: &Stage, space: &str, name: &str, steps: &Value) {
        let service = json!({ "apiVersion": "medley.health/v1alpha1", "kind": "MedicalService", "metadata": { "name": "peer" }, "spec": {
            "external": { "endpoints": [{ "host": ADDRESS }] },
            "interfaces": [{ "name": "http", "port": self.port, "protocol": "HTTP", "http": { "healthPath": "/health" },
                             "probe": { "level": "Protocol", "interval": "10s" } }] } });
        let workflow = json!({ "apiVersion": "medley.health/v1alpha1", "kind": "Workflow", "metadata": { "name": name }, "spec": {
            "retention": { "succeeded": 10000 }, "steps": steps } });
        stage.apply(space, &service.to_string());
        stage.apply(space, &workflow.to_string());
    }

    /// Waits until both are known.
    pub(crate) fn wait(&self, stage: &Stage, space: &str, workflow: &str) {
        stage.ready(space, &format!("mwf/{workflow}"));
        stage.kubectl(&["wait", "-n", space, "--for=condition=Reachable", "msvc/peer", "--timeout=30s"]);
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
