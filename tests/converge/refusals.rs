//! Does an object say that the API server refuses a write that it needs, and go on when it is granted?

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use harness::simulated::Fault;
use medley::api::workflow_run::RunPhase;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    stage::{NAMESPACE, Stage},
    steps::{call, container},
    undisturbed::prepared,
};

/// Refuses one verb on one resource to every operator until it is granted.
fn refuse(stage: &Stage, verb: &'static str, resource: &'static str, (code, reason): (u16, &'static str)) -> Grant {
    let granted = Arc::new(AtomicBool::new(false));
    stage.world.faults({
        let granted = Arc::clone(&granted);
        move |call| {
            let hit = call.user.starts_with("op-") && call.verb == verb && call.resource == resource;
            if hit && !granted.load(Ordering::Relaxed) {
                Fault::Respond { code, reason: reason.to_owned(), retry_after: None }
            } else {
                Fault::None
            }
        }
    });
    Grant(granted)
}

struct Grant(Arc<AtomicBool>);

impl Grant {
    fn give(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

const FORBIDDEN: (u16, &str) = (403, "Forbidden");
const INVALID: (u16, &str) = (422, "Invalid");

fn condition(stage: &Stage, kind: &str, name: &str, type_: &str) -> Option<Value> {
    let object = stage.server.object(kind, NAMESPACE, name)?;
    object["status"]["conditions"].as_array()?.iter().find(|c| c["type"] == type_).cloned()
}

/// What an object says of the refused write, by the rules of kstatus.
fn refusal(stage: &Stage, kind: &str, name: &str) -> Option<String> {
    let stalled = condition(stage, kind, name, "Stalled").filter(|c| c["reason"] == "WriteRefused")?;
    assert_eq!(stalled["status"], "True");
    assert!(condition(stage, kind, name, "Reconciling").is_none(), "stalled, and so not under way");
    let ready = condition(stage, kind, name, "Ready").unwrap();
    assert_eq!((&ready["status"], &ready["reason"]), (&json!("False"), &json!("WriteRefused")));
    let object = stage.server.object(kind, NAMESPACE, name).unwrap();
    assert_eq!(object["status"]["observedGeneration"], object["metadata"]["generation"]);
    Some(stalled["message"].as_str().unwrap().to_owned())
}

/// Attempts of one verb on one resource by all operators.
fn attempts(stage: &Stage, verb: &str, resource: &str) -> usize {
    stage.server.calls().iter().filter(|r| r.call.verb == verb && r.call.resource == resource).count()
}

/// Events told by all operators.
fn events(stage: &Stage) -> usize {
    stage.server.calls().iter().filter(|r| r.call.is_event() && r.call.is_write()).count()
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_pod_is_refused_says_so_and_goes_on_when_it_is_granted() {
    let stage = prepared(vec![container("measure").timeout("5h").step(), call("count").step()]).await;
    stage.workflow("calls", [call("count").step()]).await;
    let grant = refuse(&stage, "create", "pods", FORBIDDEN);
    stage.run("r1", "ct").await;
    stage.start("op-1");
    let says = |s: &Stage| refusal(s, "WorkflowRun", "r1").is_some();
    stage.until("the run says so", Duration::from_secs(5), says).await;
    let message = refusal(&stage, "WorkflowRun", "r1").unwrap();
    assert!(message.starts_with("create pods: the API server refused it (Forbidden)"), "{message}");
    let since = condition(&stage, "WorkflowRun", "r1", "Stalled").unwrap()["lastTransitionTime"].clone();
    assert_eq!(stage.phase("r1"), Some(RunPhase::Running));

    stage.run("r2", "calls").await;
    assert_eq!(stage.ended("r2").await, RunPhase::Succeeded, "others go on");
    stage.rest().await;
    assert_eq!(stage.step("r1", "count")["phase"], "Succeeded", "and so do its other steps");

    // an hour of it: a look a minute or so, no write, and the same under the next leader
    let (creates, writes, told) = (attempts(&stage, "create", "pods"), stage.status_writes(), events(&stage));
    assert!(told > 0, "people are told");
    sleep(Duration::from_secs(1800)).await;
    stage.world.kill("op-1");
    stage.start("op-2");
    sleep(Duration::from_secs(1800)).await;
    let creates = attempts(&stage, "create", "pods") - creates;
    assert!((30..180).contains(&creates), "{creates} attempts in an hour");
    // the next leader writes its epoch before it makes what the former one may have made
    assert_eq!(stage.status_writes(), writes + 1, "nothing new is to be said");
    assert_eq!(condition(&stage, "WorkflowRun", "r1", "Stalled").unwrap()["lastTransitionTime"], since);
    assert_eq!(events(&stage), told, "nor told again");

    grant.give();
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
    assert_eq!(condition(&stage, "WorkflowRun", "r1", "Stalled"), None);
    stage.rest().await;
    assert_eq!(stage.pods_created(), ["r1-measure-1"], "one pod after all");
    stage.assert_monotone();
}

#[tokio::test(start_paused = true)]
async fn a_run_stops_saying_so_while_its_pod_is_at_work() {
    let stage = prepared(vec![container("measure").step()]).await;
    stage.world.fates("measure", [super::world::works(Duration::from_secs(300), &json!({}))]);
    let grant = refuse(&stage, "create", "pods", INVALID);
    stage.run("r1", "ct").await;
    stage.start("op-1");
    let says = |s: &Stage| refusal(s, "WorkflowRun", "r1").is_some();
    stage.until("the run says so", Duration::from_secs(5), says).await;
    grant.give();
    stage.until("a pod is there", Duration::from_secs(60), |s| !s.pods_created().is_empty()).await;
    stage.until("it says so no more", Duration::from_secs(1), |s| !says(s)).await;
    assert_eq!(condition(&stage, "WorkflowRun", "r1", "Reconciling").unwrap()["status"], "True");
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_run_is_over_though_its_pod_cannot_be_stopped() {
    let stage = prepared(vec![container("measure").step()]).await;
    stage.world.fates("measure", [super::world::hangs()]);
    stage.run("r1", "ct").await;
    stage.start("op-1");
    stage.until("the pod runs", Duration::from_secs(30), |s| s.step("r1", "measure")["phase"] == "Running").await;
    let grant = refuse(&stage, "delete", "pods", FORBIDDEN);
    stage.cancel("r1").await;
    assert_eq!(stage.ended("r1").await, RunPhase::Canceled);
    let finished = stage.stored("r1");
    sleep(Duration::from_secs(1800)).await;
    assert_eq!(stage.stored("r1"), finished, "a finished run is left alone");
    grant.give();
    stage.until("the pod is gone", Duration::from_secs(61), |s| s.server.objects("Pod").is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn a_service_whose_objects_are_refused_says_which_and_keeps_the_others_right() {
    for (resource, refused, granted) in
        [("deployments", "patch deployments.apps", "RollingOut"), ("services", "patch services", "RollingOut")]
    {
        let stage = Stage::new();
        let grant = refuse(&stage, "patch", resource, FORBIDDEN);
        stage.workload("viewer").await;
        stage.start("op-1");
        let says = |s: &Stage| refusal(s, "MedicalService", "viewer").is_some();
        stage.until("the service says so", Duration::from_secs(5), says).await;
        let message = refusal(&stage, "MedicalService", "viewer").unwrap();
        assert!(message.starts_with(&format!("{refused}: the API server refused it")), "{message}");
        let there = |kind: &str| stage.server.object(kind, NAMESPACE, "viewer").is_some();
        assert_eq!((there("Deployment"), there("Service")), (resource == "services", resource == "deployments"));
        assert!(there("PodDisruptionBudget"), "{resource}: what is not refused is made");

        let patches = attempts(&stage, "patch", resource);
        let status = stage.server.object("MedicalService", NAMESPACE, "viewer").unwrap();
        sleep(Duration::from_secs(1800)).await;
        let patches = attempts(&stage, "patch", resource) - patches;
        assert!((15..90).contains(&patches), "{resource}: {patches} attempts in half an hour");
        assert_eq!(stage.server.object("MedicalService", NAMESPACE, "viewer").unwrap(), status, "no write meanwhile");

        grant.give();
        stage.until("it says so no more", Duration::from_secs(61), |s| !says(s)).await;
        assert_eq!(condition(&stage, "MedicalService", "viewer", "Ready").unwrap()["reason"], granted);
        assert_eq!(condition(&stage, "MedicalService", "viewer", "Stalled"), None);
    }
}

#[tokio::test(start_paused = true)]
async fn other_services_go_on_while_one_is_refused() {
    let stage = Stage::new();
    refuse(&stage, "patch", "deployments", FORBIDDEN);
    stage.workload("viewer").await;
    stage.start("op-1");
    stage.until("one says so", Duration::from_secs(5), |s| refusal(s, "MedicalService", "viewer").is_some()).await;
    stage.service("archive", &["10.0.0.1"]).await;
    let ready =
        |s: &Stage| condition(s, "MedicalService", "archive", "Reachable").is_some_and(|c| c["status"] == "True");
    stage.until("the other is reachable", Duration::from_secs(10), ready).await;
}

#[tokio::test(start_paused = true)]
async fn a_workflow_that_cannot_be_stored_says_so_and_is_stored_when_it_is_granted() {
    let stage = Stage::new();
    stage.service("archive", &["10.0.0.1"]).await;
    stage.workflow("ct", [call("count").step()]).await;
    let grant = refuse(&stage, "create", "controllerrevisions", INVALID);
    stage.run("r1", "ct").await;
    stage.start("op-1");
    let says = |s: &Stage| refusal(s, "Workflow", "ct").is_some();
    stage.until("the workflow says so", Duration::from_secs(5), says).await;
    let message = refusal(&stage, "Workflow", "ct").unwrap();
    assert!(message.starts_with("create controllerrevisions.apps: the API server refused it (Invalid)"), "{message}");
    stage.rest().await;
    assert_eq!(stage.phase("r1"), Some(RunPhase::Pending));
    grant.give();
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
    assert_eq!(condition(&stage, "Workflow", "ct", "Stalled"), None);
    assert_eq!(condition(&stage, "Workflow", "ct", "Ready").unwrap()["status"], "True");
}

#[tokio::test(start_paused = true)]
async fn the_run_that_a_workflow_makes_is_made_when_it_is_granted() {
    let stage = Stage::new();
    let grant = refuse(&stage, "create", "workflowruns", FORBIDDEN);
    stage.workflow_on_apply("nightly", [super::steps::transform("one", "1").step()]).await;
    stage.start("op-1");
    let says = |s: &Stage| refusal(s, "Workflow", "nightly").is_some();
    stage.until("the workflow says so", Duration::from_secs(5), says).await;
    stage.rest().await;
    assert!(stage.server.objects("WorkflowRun").is_empty());
    grant.give();
    stage.until("the run is there", Duration::from_secs(61), |s| s.server.objects("WorkflowRun").len() == 1).await;
    stage.rest().await;
    assert_eq!(stage.server.objects("WorkflowRun").len(), 1, "one run of this generation");
    assert_eq!(condition(&stage, "Workflow", "nightly", "Stalled"), None);
}
