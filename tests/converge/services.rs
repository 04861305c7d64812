//! What is published of services outside the cluster, and what does a quiet cluster cost?

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use harness::simulated::Fault;
use medley::{
    api::{
        MedicalService,
        workflow_run::{RunPhase, StepPhase},
    },
    telemetry::{Metrics, Reconcile},
};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    stage::{NAMESPACE, Stage},
    steps::{call, story},
    undisturbed::prepared,
};

/// Addresses of `archive` that get traffic.
pub(crate) fn published(stage: &Stage) -> Vec<String> {
    let mut found: Vec<String> = stage
        .server
        .objects("EndpointSlice")
        .iter()
        .filter(|s| s["metadata"]["namespace"] == NAMESPACE)
        .flat_map(|s| s["endpoints"].as_array().cloned().unwrap_or_default())
        .filter(|e| e["conditions"]["ready"] != Value::Bool(false))
        .flat_map(|e| e["addresses"].as_array().cloned().unwrap_or_default())
        .map(|a| a.as_str().unwrap().to_owned())
        .collect();
    found.sort();
    found
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_fails_leaves_at_its_threshold_and_comes_back() {
    let stage = Stage::new();
    stage.service("archive", &["10.0.0.1", "10.0.0.2"]).await;
    stage.start("op-1");
    stage.until("both are published", Duration::from_secs(10), |s| published(s) == ["10.0.0.1", "10.0.0.2"]).await;
    sleep(Duration::from_secs(60)).await;
    stage.world.set_well("10.0.0.2", false);
    // every 5 s a probe, out after the third failure: two intervals at least, three at most
    sleep(Duration::from_millis(9900)).await;
    assert_eq!(published(&stage), ["10.0.0.1", "10.0.0.2"], "two failures are not enough");
    stage.until("it leaves", Duration::from_millis(5500), |s| published(s) == ["10.0.0.1"]).await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(published(&stage), ["10.0.0.1"]);
    stage.world.set_well("10.0.0.2", true);
    // it has failed for long: probed at twice its interval
    stage.until("it comes back", Duration::from_millis(10_500), |s| published(s) == ["10.0.0.1", "10.0.0.2"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_blind_operator_removes_nothing() {
    let stage = Stage::new();
    stage.service("archive", &["10.0.0.1", "10.0.0.2"]).await;
    stage.start("op-1");
    stage.world.set_well("10.0.0.2", false);
    stage.until("one is published", Duration::from_secs(10), |s| published(s) == ["10.0.0.1"]).await;
    stage.rest().await;
    stage.world.kill("op-1");
    stage.world.blind("op-2");
    stage.start("op-2");
    for minute in 0..30 {
        sleep(Duration::from_secs(60)).await;
        assert_eq!(published(&stage), ["10.0.0.1"], "minute {minute}");
    }
    assert!(!stage.calls_of("op-2").is_empty());
}

fn looks(metrics: &Metrics) -> u64 {
    let kinds = ["MedicalService", "Workflow", "WorkflowRun"];
    kinds.iter().map(|&kind| metrics.reconciles.get_or_create(&Reconcile { kind, outcome: "ok" }).get()).sum()
}

#[tokio::test(start_paused = true)]
async fn a_quiet_cluster_costs_no_write_but_the_lease() {
    let stage = prepared(story()).await;
    stage.run("r1", "ct").await;
    let operator = stage.start("op-1");
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
    stage.rest().await;
    let (before, calls) = (looks(&operator.metrics), stage.calls_of("op-1").len());
    assert!(before >= 3, "each object was looked at: {before}");
    sleep(Duration::from_secs(3600)).await;
    let writes: Vec<_> = stage.calls_of("op-1").split_off(calls).into_iter().filter(|r| r.call.is_write()).collect();
    let (lease, other): (Vec<_>, Vec<_>) = writes.into_iter().partition(|r| r.call.resource == "leases");
    assert!(other.is_empty(), "{other:#?}");
    assert!((1700..=1800).contains(&lease.len()), "a renewal every 2 s: {}", lease.len());
    // three objects, at most one look a minute at each
    let after = looks(&operator.metrics) - before;
    assert!(after <= 3 * 60, "{after} looks in an hour");
}

#[tokio::test(start_paused = true)]
async fn a_slice_that_somebody_changes_back_is_set_right_more_and_more_seldom() {
    let stage = prepared(story()).await;
    stage.start("op-1");
    stage.until("it is published", Duration::from_secs(60), |s| !published(s).is_empty()).await;
    let (server, mut tape) = (stage.server.clone(), stage.server.tape("EndpointSlice"));
    let other = tokio::spawn(async move {
        while let Some(version) = tape.next().await {
            let name = version.object()["metadata"]["name"].as_str().unwrap().to_owned();
            let has_some = version.object()["endpoints"].as_array().is_some_and(|e| !e.is_empty());
            if !version.deleted && has_some {
                let none = json!({"endpoints": []});
                server.patch("EndpointSlice", NAMESPACE, &name, &none).unwrap();
            }
        }
    });
    sleep(Duration::from_secs(60)).await;
    let patches = stage.calls_of("op-1").iter().filter(|r| r.call.resource == "endpointslices" && r.changed).count();
    assert!((8..=20).contains(&patches), "{patches} in a minute");
    other.abort();
    stage.until("it is published again", Duration::from_secs(60), |s| !published(s).is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_comes_while_a_run_writes_that_it_waits_is_not_overlooked() {
    let stage = Stage::new();
    let probe = json!({"level": "Transport", "interval": "1s", "failureThreshold": 1});
    let interface = json!({"name": "http", "port": 8080, "protocol": "HTTP", "probe": probe});
    let spec = json!({"external": {"endpoints": [{"host": "10.0.0.1"}]}, "interfaces": [interface]});
    stage.create::<MedicalService>("archive", spec).await;
    stage.world.set_well("10.0.0.1", false);
    stage.workflow("ct", [call("count").timeout("1h").step()]).await;
    // what the run writes first, that it waits, takes effect after its service has come
    let writes = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&writes);
    stage.world.faults(move |call| {
        let status = call.is_write() && call.resource == "workflowruns" && call.subresource == "status";
        if status && seen.fetch_add(1, Ordering::Relaxed) == 0 {
            return Fault::Delay(Duration::from_secs(3));
        }
        Fault::None
    });
    stage.start("op-1");
    let known = |s: &Stage| s.server.object("MedicalService", NAMESPACE, "archive").unwrap()["status"]["total"] == 1;
    stage.until("the service is known to be away", Duration::from_secs(60), known).await;
    stage.run("r1", "ct").await;
    stage.until("it writes", Duration::from_secs(60), |_| writes.load(Ordering::Relaxed) == 1).await;
    stage.world.set_well("10.0.0.1", true);
    let over = |s: &Stage| s.phase("r1") == Some(RunPhase::Succeeded);
    stage.until("it has called", Duration::from_secs(20), over).await;
    assert_eq!(stage.history_of("r1")[0].steps["count"].phase, StepPhase::Waiting, "it did wait");
}

/// The series of endpoints that an operator shows, as `archive ready/known`.
fn counted(metrics: &Metrics) -> String {
    let text = metrics.render();
    let value = |name: &str| {
        let series = format!("{name}{{namespace=\"{NAMESPACE}\",service=\"archive\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&series).map(str::to_owned)).unwrap_or_default()
    };
    format!("{}/{}", value("medley_service_endpoints_ready"), value("medley_service_endpoints"))
}

#[tokio::test(start_paused = true)]
async fn only_the_leader_counts_endpoints_and_only_of_services_that_are_there() {
    let stage = Stage::new();
    stage.service("archive", &["10.0.0.1", "10.0.0.2"]).await;
    let first = stage.start("op-1");
    stage.until("both are counted", Duration::from_secs(10), |_| counted(&first.metrics) == "2/2").await;
    stage.world.set_well("10.0.0.2", false);
    stage.until("one is not ready", Duration::from_secs(30), |_| counted(&first.metrics) == "1/2").await;
    let metrics = first.metrics.clone();
    first.stop().await;
    assert_eq!(counted(&metrics), "/", "who does not lead knows nothing");
    let second = stage.start("op-2");
    stage.until("the next leader counts", Duration::from_secs(60), |_| counted(&second.metrics) == "1/2").await;
    stage.server.delete("MedicalService", NAMESPACE, "archive", 0).unwrap();
    stage.until("nothing is left", Duration::from_secs(10), |_| counted(&second.metrics) == "/").await;
}

#[tokio::test(start_paused = true)]
async fn objectives_are_measured_by_who_leads_and_go_with_the_service() {
    let stage = Stage::new();
    let probe = json!({"level": "Transport", "interval": "1s", "failureThreshold": 1});
    let interface = json!({"name": "http", "port": 8080, "protocol": "HTTP", "probe": probe});
    let latency = json!({"source": "Probes", "percentile": 99, "within": "1h"});
    let mut spec = json!({"external": {"endpoints": [{"host": "10.0.0.1"}]}, "interfaces": [interface]});
    stage.create::<MedicalService>("other", spec.clone()).await;
    spec["objectives"] = json!({"availability": 99.9, "latency": latency});
    stage.create::<MedicalService>("archive", spec).await;
    // all series of objectives; of the counters whether some were in time, and whether some were not
    let shown = |metrics: &Metrics| {
        let text = metrics.render();
        let series: Vec<_> = text.lines().filter(|line| line.starts_with("medley_service_objective_")).collect();
        assert!(series.iter().all(|line| line.contains("service=\"archive\"")), "{series:?}");
        let value = |name: &str| {
            let line =
                series.iter().find(|line| line.starts_with(&format!("medley_service_objective_latency_{name}_total")));
            line.map_or(0, |line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap())
        };
        (series.len(), value("met") > 0, value("measured") > value("met"))
    };
    let first = stage.start("op-1");
    stage.until("probes are counted", Duration::from_secs(10), |_| shown(&first.metrics) == (5, true, false)).await;
    stage.world.set_well("10.0.0.1", false);
    stage.until("one fails", Duration::from_secs(10), |_| shown(&first.metrics) == (5, true, true)).await;
    let metrics = first.metrics.clone();
    first.stop().await;
    assert_eq!(shown(&metrics), (0, false, false), "who does not lead knows nothing");
    let second = stage.start("op-2");
    stage
        .until("the next leader counts", Duration::from_secs(60), |_| shown(&second.metrics) == (5, false, true))
        .await;
    stage.server.delete("MedicalService", NAMESPACE, "archive", 0).unwrap();
    stage.until("nothing is left", Duration::from_secs(10), |_| shown(&second.metrics) == (0, false, false)).await;
}
