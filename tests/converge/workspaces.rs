//! Do the pods of a run share a volume, and does it go with the run's end, whatever happens on the way?

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use harness::simulated::{Call, Fault};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::{Api, api::PostParams};
use medley::api::workflow_run::RunPhase;
use serde_json::{Value, json};

use super::{
    stage::{NAMESPACE, Stage},
    steps::{call, container},
    undisturbed::prepared_with,
    world::{exits, hangs, unplaced, works},
};

/// Two pods, the second of which reads what the first wrote.
fn spec() -> Value {
    json!({
        "workspace": {"size": "1Gi", "storageClassName": "fast", "mountPath": "/data"},
        "steps": [container("write").step(), container("read").after(&["write"]).step()],
    })
}

/// The operator's calls about claims, in order.
fn about_claims(stage: &Stage, operator: &str) -> Vec<&'static str> {
    let calls = stage.calls_of(operator).into_iter().map(|r| r.call);
    calls.filter(|c| c.resource == "persistentvolumeclaims").map(|c| c.verb).collect()
}

fn claims(stage: &Stage) -> Vec<Value> {
    stage.server.objects("PersistentVolumeClaim")
}

/// A claim that somebody else made, of the name that the run needs.
async fn foreign_claim(stage: &Stage) {
    let claim: PersistentVolumeClaim = serde_json::from_value(json!({
        "metadata": {"name": "r1-workspace", "namespace": NAMESPACE},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }))
    .unwrap();
    let api = Api::<PersistentVolumeClaim>::namespaced(stage.server.client_as("somebody"), NAMESPACE);
    api.create(&PostParams::default(), &claim).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_pods_of_a_run_share_one_volume_that_goes_with_its_end() {
    let stage = prepared_with(spec()).await;
    stage.world.fates("read", [works(Duration::from_secs(20), &json!({}))]);
    stage.run("r1", "ct").await;
    stage.start("op-1");
    let reads = |s: &Stage| s.step("r1", "read")["phase"] == "Running";
    stage.until("the second pod runs", Duration::from_secs(60), reads).await;
    let [claim] = claims(&stage).try_into().unwrap();
    assert_eq!(claim["metadata"]["name"], "r1-workspace");
    assert_eq!(claim["metadata"]["ownerReferences"][0]["uid"], json!(stage.stored("r1").metadata.uid));
    assert_eq!(
        claim["spec"],
        json!({"accessModes": ["ReadWriteOnce"], "storageClassName": "fast", "resources": {"requests": {"storage": "1Gi"}}}),
    );
    assert_eq!(stage.stored("r1").status.unwrap().workspace.as_deref(), Some("r1-workspace"));
    for pod in stage.server.objects("Pod") {
        let spec = &pod["spec"];
        let volume = json!([{"name": "workspace", "persistentVolumeClaim": {"claimName": "r1-workspace"}}]);
        assert_eq!(spec["volumes"], volume);
        assert_eq!(spec["containers"][0]["volumeMounts"], json!([{"name": "workspace", "mountPath": "/data"}]));
        assert_eq!(spec["securityContext"]["fsGroup"], json!(65532));
    }
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
    stage.rest().await;
    assert_eq!(claims(&stage), Vec::<Value>::new());
    assert_eq!(stage.server.objects("Pod"), Vec::<Value>::new(), "a pod that is there keeps its claim");
    assert_eq!(about_claims(&stage, "op-1"), ["create", "get", "delete"]);
    let status = stage.stored("r1").status.unwrap();
    assert_eq!((status.workspace, status.step_summary.as_deref()), (None, Some("2/2")));
    // that its workflow is not stored, two starts, the second one's work, that the run is about to end, and its end
    assert_eq!(stage.status_writes(), 6);
    stage.assert_monotone();
}

#[tokio::test(start_paused = true)]
async fn killed_at_any_write_it_leaves_no_volume_behind() {
    ends_the_same_killed_at_any_write(spec(), &["r1-write-1", "r1-read-1"]).await;
}

#[tokio::test(start_paused = true)]
async fn killed_at_any_write_the_pod_of_its_last_word_is_not_made_again() {
    let mut spec = spec();
    spec["finally"] = json!([container("tidy").step()]);
    ends_the_same_killed_at_any_write(spec, &["r1-write-1", "r1-read-1", "r1-tidy-1"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_last_word_is_written_down_before_its_pod_goes_with_the_volume() {
    let mut spec = spec();
    spec["finally"] = json!([container("tidy").step()]);
    let stage = prepared_with(spec).await;
    stage.run("r1", "ct").await;
    // the run's last status is refused once, when its pods have gone
    let refused = Arc::new(AtomicUsize::new(0));
    stage.world.faults(move |call| {
        let deleted = call.verb == "delete" && call.resource == "pods";
        let at = if deleted { refused.fetch_max(1, Ordering::Relaxed) } else { refused.load(Ordering::Relaxed) };
        if at == 1 && call.resource == "workflowruns" && call.verb == "update" {
            refused.store(2, Ordering::Relaxed);
            return Fault::Respond { code: 409, reason: "Conflict".to_owned(), retry_after: None };
        }
        Fault::None
    });
    stage.start("op-1");
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
    stage.rest().await;
    assert_eq!(stage.pods_created(), ["r1-write-1", "r1-read-1", "r1-tidy-1"]);
}

async fn ends_the_same_killed_at_any_write(spec: Value, pods: &[&str]) {
    let counts = |call: &Call| call.is_write() && !call.is_event() && call.resource != "leases";
    let undisturbed = prepared_with(spec.clone()).await;
    undisturbed.run("r1", "ct").await;
    undisturbed.start("op-1");
    assert_eq!(undisturbed.ended("r1").await, RunPhase::Succeeded);
    undisturbed.rest().await;
    let expected = undisturbed.end_state();
    let writes = undisturbed.calls_of("op-1").iter().filter(|r| counts(&r.call)).count();
    assert!(writes >= 9, "two pods, a claim made and removed, and more than four statuses: {writes}");
    for k in 1..=writes {
        for after in [false, true] {
            let what = format!("killed {} write {k} of {writes}", if after { "after" } else { "before" });
            let stage = prepared_with(spec.clone()).await;
            stage.run("r1", "ct").await;
            stage.world.dies_at("op-1", k, after, counts);
            stage.start("op-1");
            stage.until(&what, Duration::from_secs(300), |s| s.world.is_dead("op-1")).await;
            stage.start("op-2");
            assert_eq!(stage.ended("r1").await, RunPhase::Succeeded, "{what}");
            stage.rest().await;
            let state = stage.end_state();
            for kind in expected.as_object().unwrap().keys() {
                assert_eq!(state[kind], expected[kind], "{what}: {kind}");
            }
            assert_eq!(stage.pods_created(), pods, "{what}");
            stage.assert_monotone();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_claim_of_somebody_else_is_told_and_left_alone() {
    let stage = prepared_with(spec()).await;
    foreign_claim(&stage).await;
    stage.run("r1", "ct").await;
    stage.start("op-1");
    stage.until("the run says so", Duration::from_secs(10), |s| s.reason("r1") == "NameTaken").await;
    stage.rest().await;
    let message = "a PersistentVolumeClaim named r1-workspace exists that does not belong here: delete it";
    assert_eq!((stage.message("r1").as_str(), stage.condition("r1", "Stalled").as_str()), (message, "True NameTaken"));
    assert_eq!(stage.pods_created(), Vec::<String>::new());
    let told = stage.events().await;
    assert_eq!(told.iter().filter(|e| **e == format!("NameTaken {message}")).count(), 1, "{told:?}");
    stage.server.delete("PersistentVolumeClaim", NAMESPACE, "r1-workspace", 0).unwrap();
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
    stage.rest().await;
    assert_eq!((claims(&stage).len(), stage.condition("r1", "Stalled")), (0, String::new()));
    stage.assert_monotone();
}

#[tokio::test(start_paused = true)]
async fn a_claim_of_somebody_else_outlives_the_run() {
    let mut spec = spec();
    spec["steps"][0]["timeout"] = json!("1m");
    let stage = prepared_with(spec).await;
    foreign_claim(&stage).await;
    stage.run("r1", "ct").await;
    stage.start("op-1");
    assert_eq!(stage.ended("r1").await, RunPhase::Failed);
    stage.rest().await;
    let step = stage.step("r1", "write");
    let message = "the container did not end within 60s: a PersistentVolumeClaim named r1-workspace exists that does not belong here: delete it";
    assert_eq!((&step["reason"], step["message"].as_str().unwrap()), (&json!("Timeout"), message));
    assert_eq!(claims(&stage).len(), 1);
    assert!(!about_claims(&stage, "op-1").contains(&"delete"));
}

#[tokio::test(start_paused = true)]
async fn a_quota_that_refuses_the_claim_is_told() {
    let stage = prepared_with(spec()).await;
    stage.world.faults(|call| {
        if call.resource == "persistentvolumeclaims" && call.verb == "create" {
            return Fault::Respond { code: 403, reason: "Forbidden".to_owned(), retry_after: None };
        }
        Fault::None
    });
    stage.run("r1", "ct").await;
    stage.start("op-1");
    stage.until("the run says so", Duration::from_secs(10), |s| s.reason("r1") == "WriteRefused").await;
    assert!(stage.message("r1").starts_with("create persistentvolumeclaims: "), "{}", stage.message("r1"));
    stage.rest().await;
    assert_eq!(stage.pods_created(), Vec::<String>::new(), "no pod without its volume");
    stage.world.no_faults();
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn what_undoes_a_run_and_its_end_find_the_volume_still_there() {
    let undo = json!({"container": {"image": "localhost/tool:1"}});
    let stage = prepared_with(json!({
        "workspace": {"size": "1Gi"},
        "steps": [container("write").undone_by(undo).step(), container("read").after(&["write"]).step()],
        "finally": [container("pack").step(), call("tell").after(&["pack"]).step()],
    }))
    .await;
    stage.world.fates("read", [exits(1)]);
    stage.run("r1", "ct").await;
    stage.start("op-1");
    assert_eq!(stage.ended("r1").await, RunPhase::Failed);
    stage.rest().await;
    assert_eq!((claims(&stage).len(), stage.reason("r1").as_str()), (0, "StepFailed"));
    assert_eq!(stage.pods_created().len(), 4);
    let calls = stage.calls_of("op-1");
    let place = |resource: &str, verb: &str| {
        calls.iter().rposition(|r| r.call.resource == resource && r.call.verb == verb).unwrap()
    };
    let dropped = place("persistentvolumeclaims", "delete");
    assert!(place("pods", "create") < dropped && stage.world.asked("/tell") == 1);
    assert_eq!(about_claims(&stage, "op-1"), ["create", "get", "delete"], "one claim for all four pods");
    for pod in stage.server.objects("Pod") {
        assert_eq!(pod["spec"]["containers"][0]["volumeMounts"][0]["mountPath"], "/workspace", "where none is named");
    }
    stage.assert_monotone();
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_run_gives_its_volume_back() {
    let stage = prepared_with(spec()).await;
    stage.world.fates("write", [hangs()]);
    stage.run("r1", "ct").await;
    stage.start("op-1");
    stage.until("the pod runs", Duration::from_secs(60), |s| s.step("r1", "write")["phase"] == "Running").await;
    stage.cancel("r1").await;
    assert_eq!(stage.ended("r1").await, RunPhase::Canceled);
    stage.rest().await;
    assert_eq!((claims(&stage).len(), stage.server.objects("Pod").len()), (0, 0));
    stage.assert_monotone();
}

#[tokio::test(start_paused = true)]
async fn a_volume_that_may_not_be_removed_does_not_keep_the_run_from_ending() {
    let stage = prepared_with(spec()).await;
    stage.world.faults(|call| {
        if call.resource == "persistentvolumeclaims" && call.verb == "delete" {
            return Fault::Respond { code: 403, reason: "Forbidden".to_owned(), retry_after: None };
        }
        Fault::None
    });
    stage.run("r1", "ct").await;
    stage.start("op-1");
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
    stage.rest().await;
    assert_eq!(claims(&stage).len(), 1);
    let told = stage.events().await;
    assert!(told.iter().any(|e| e.starts_with("WorkspaceKept delete persistentvolumeclaims: ")), "{told:?}");
    stage.server.delete("WorkflowRun", NAMESPACE, "r1", 0).unwrap();
    stage.until("it goes with the run", Duration::from_secs(60), |s| claims(s).is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_without_a_place_says_to_look_at_the_claim() {
    let mut spec = spec();
    spec["steps"][0]["timeout"] = json!("2m");
    let stage = prepared_with(spec).await;
    stage.world.fates("write", [unplaced()]);
    stage.run("r1", "ct").await;
    stage.start("op-1");
    let why =
        "the scheduler has no node for its pod: is the PersistentVolumeClaim `r1-workspace` of the workspace bound?";
    stage.until("the delay is told", Duration::from_secs(45), |s| s.step("r1", "write")["message"] == why).await;
    assert_eq!(stage.status_writes(), 3, "that its workflow is not stored, the start, the delay");
    assert_eq!(stage.ended("r1").await, RunPhase::Failed);
    assert_eq!(stage.step("r1", "write")["message"], format!("the container did not end within 120s: {why}"));
    stage.rest().await;
    assert_eq!(claims(&stage).len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_run_cannot_be_taken_up_behind_a_pod_whose_files_are_gone() {
    let stage = prepared_with(spec()).await;
    stage.world.fates("read", [exits(1), works(Duration::from_millis(300), &json!({}))]);
    stage.run("r1", "ct").await;
    stage.start("op-1");
    assert_eq!(stage.ended("r1").await, RunPhase::Failed);
    stage.run_with("r2", json!({"workflow": "ct", "retryFrom": {"run": "r1", "step": "read"}})).await;
    assert_eq!((stage.ended("r2").await, stage.reason("r2").as_str()), (RunPhase::Failed, "InvalidRetryFrom"));
    assert!(
        stage.message("r2").contains("step `write` is done, and what it left in the workspace"),
        "{}",
        stage.message("r2")
    );
    stage.run_with("r3", json!({"workflow": "ct", "retryFrom": {"run": "r1", "step": "write"}})).await;
    stage.ended("r3").await;
    assert!(stage.pods_created().contains(&"r3-write-1".to_owned()));
}
