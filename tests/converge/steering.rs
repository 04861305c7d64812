//! Do runs go the way that their definition and their users say?

use std::time::Duration;

use harness::simulated::ApiServer;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api,
    api::{ApiResource, DynamicObject, PostParams},
};
use medley::api::{WorkflowRun, schema::crds, workflow_run::RunPhase};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{
    stage::{NAMESPACE, Stage},
    steps::{call, container, transform},
    undisturbed::prepared,
    world::{answer, evicted, exits, hangs, refused, works},
};

#[tokio::test(start_paused = true)]
async fn a_cancelled_run_stops_its_pods_and_calls() {
    let stage = prepared(vec![
        container("long").step(),
        call("slow").timeout("10m").step(),
        call("next").after(&["slow"]).step(),
    ])
    .await;
    stage.world.fates("long", [hangs()]);
    stage.world.replies("/slow", [answer(200, json!({})).after(Duration::from_secs(300))]);
    stage.run("r1", "ct").await;
    stage.start("op-1");
    let at_work = |s: &Stage| s.world.asked("/slow") == 1 && s.step("r1", "long")["phase"] == "Running";
    stage.until("both steps are at work", Duration::from_secs(60), at_work).await;
    stage.cancel("r1").await;
    assert_eq!(stage.ended("r1").await, RunPhase::Canceled);
    stage.until("the pod is gone", Duration::from_secs(5), |s| s.server.objects("Pod").is_empty()).await;
    sleep(Duration::from_secs(600)).await;
    assert_eq!(stage.world.asked("/next"), 0);
    for step in ["long", "slow"] {
        assert_eq!(stage.step("r1", step)["phase"], "Canceled", "{step}");
    }
    stage.assert_monotone();
}

#[tokio::test(start_paused = true)]
async fn a_run_waits_for_its_workflow() {
    let stage = Stage::new();
    stage.service("archive", &["10.0.0.1"]).await;
    stage.start("op-1");
    stage.run("r1", "ct").await;
    stage.rest().await;
    assert_eq!((stage.phase("r1"), stage.reason("r1").as_str()), (Some(RunPhase::Pending), "WorkflowNotFound"));
    stage.workflow("ct", [call("count").step()]).await;
    let applied = Instant::now();
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
    assert!(applied.elapsed() < Duration::from_secs(2), "{:?}", applied.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_step_waits_for_its_service() {
    let stage = Stage::new();
    stage.workflow("ct", [call("count").timeout("1h").step()]).await;
    stage.run("r1", "ct").await;
    stage.start("op-1");
    stage.rest().await;
    assert_eq!(stage.step("r1", "count")["phase"], "Waiting");
    stage.world.set_well("10.0.0.1", false);
    stage.service("archive", &["10.0.0.1"]).await;
    stage.rest().await;
    assert_eq!(stage.step("r1", "count")["phase"], "Waiting", "it exists, but does not answer");
    stage.world.set_well("10.0.0.1", true);
    let well = Instant::now();
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
    // what fails for long is asked at twice its interval
    assert!(well.elapsed() < Duration::from_secs(11), "one probe later: {:?}", well.elapsed());
    assert_eq!(stage.world.asked("/count"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_step_that_waits_too_long_for_its_service_fails() {
    let stage = Stage::new();
    stage.workflow("ct", [call("count").timeout("5m").step()]).await;
    stage.run("r1", "ct").await;
    stage.start("op-1");
    let begun = Instant::now();
    assert_eq!(stage.ended("r1").await, RunPhase::Failed);
    assert!((300..305).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    assert_eq!(stage.step("r1", "count")["reason"], "Connection");
}

#[tokio::test(start_paused = true)]
async fn a_failed_call_is_tried_again_after_its_backoff() {
    let stage = prepared(vec![call("read").retries(3).step()]).await;
    stage.world.replies("/read", [refused(), answer(503, json!({})), answer(500, json!({})), answer(200, json!({}))]);
    stage.run("r1", "ct").await;
    stage.start("op-1");
    let begun = Instant::now();
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
    assert!((70..75).contains(&begun.elapsed().as_secs()), "10 s, 20 s and 40 s: {:?}", begun.elapsed());
    let keys: std::collections::BTreeSet<String> = stage.world.requests().into_iter().map(|r| r.key).collect();
    assert_eq!(keys.len(), 4, "the attempt before surely failed, so that each is a new one");
    assert_eq!(stage.step("r1", "read")["attempt"], json!(4));
    stage.assert_monotone();
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_refused_for_good_is_not_tried_again() {
    let stage = prepared(vec![call("read").retries(3).step()]).await;
    stage.world.replies("/read", [answer(422, json!({}))]);
    stage.run("r1", "ct").await;
    stage.start("op-1");
    assert_eq!(stage.ended("r1").await, RunPhase::Failed);
    stage.rest().await;
    assert_eq!((stage.world.asked("/read"), stage.reason("r1").as_str()), (1, "StepFailed"));
    assert_eq!(stage.step("r1", "read")["reason"], "Rejected");
}

#[tokio::test(start_paused = true)]
async fn a_step_whose_condition_is_false_is_skipped_and_counts_as_done() {
    let stage = prepared(vec![
        transform("look", "{\"urgent\": false}").output("urgent", "Boolean", "result.urgent").step(),
        call("alarm").after(&["look"]).when("steps.look.outputs.urgent").step(),
        call("record").after(&["alarm"]).step(),
    ])
    .await;
    stage.run("r1", "ct").await;
    stage.start("op-1");
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
    assert_eq!(stage.step("r1", "alarm")["phase"], "Skipped");
    assert_eq!((stage.world.asked("/alarm"), stage.world.asked("/record")), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_failing_step_lets_its_siblings_end() {
    let stage = prepared(vec![
        container("breaks").step(),
        container("works").step(),
        call("slow").step(),
        call("later").after(&["works"]).step(),
    ])
    .await;
    stage.world.fates("breaks", [exits(3)]);
    stage.world.fates("works", [works(Duration::from_secs(20), &json!({}))]);
    stage.world.replies("/slow", [answer(200, json!({})).after(Duration::from_secs(10))]);
    stage.run("r1", "ct").await;
    stage.start("op-1");
    assert_eq!(stage.ended("r1").await, RunPhase::Failed);
    let phase = |step: &str| stage.step("r1", step)["phase"].clone();
    assert_eq!([phase("breaks"), phase("works"), phase("slow")], ["Failed", "Succeeded", "Succeeded"]);
    assert!(stage.step("r1", "later").is_null(), "nothing new begins after a failure");
    assert_eq!(stage.step("r1", "breaks")["reason"], "ContainerFailed");
    assert_eq!(stage.world.asked("/later"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_takes_too_long_is_stopped() {
    let stage = prepared(vec![container("tool").timeout("30s").step()]).await;
    stage.world.fates("tool", [hangs()]);
    stage.run("r1", "ct").await;
    stage.start("op-1");
    let begun = Instant::now();
    assert_eq!(stage.ended("r1").await, RunPhase::Failed);
    assert!((30..33).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    assert_eq!(stage.step("r1", "tool")["reason"], "Timeout");
    stage.until("the pod is gone", Duration::from_secs(5), |s| s.server.objects("Pod").is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_taken_away_is_made_again() {
    let stage = prepared(vec![container("tool").retries(2).step()]).await;
    stage.world.fates("tool", [evicted(Duration::from_secs(4)), works(Duration::from_secs(1), &json!({}))]);
    stage.run("r1", "ct").await;
    stage.start("op-1");
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
    assert_eq!(stage.pods_created(), ["r1-tool-1", "r1-tool-2"]);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_somebody_deletes_is_made_again_as_a_new_attempt() {
    let stage = prepared(vec![container("tool").retries(2).step()]).await;
    stage.world.fates("tool", [hangs(), works(Duration::from_secs(1), &json!({}))]);
    stage.run("r1", "ct").await;
    stage.start("op-1");
    stage.until("the pod runs", Duration::from_secs(30), |s| s.step("r1", "tool")["phase"] == "Running").await;
    stage.server.delete("Pod", NAMESPACE, "r1-tool-1", 0).unwrap();
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
    assert_eq!(stage.pods_created(), ["r1-tool-1", "r1-tool-2"]);
    assert_eq!(stage.step("r1", "tool")["attempt"], json!(2));
}

/// The kind `WorkflowRun` as a server without any schema would hold it.
fn lax() -> CustomResourceDefinition {
    let crd = crds().into_iter().find(|c| c.spec.names.plural == "workflowruns").unwrap();
    let mut value = serde_json::to_value(crd).unwrap();
    value["spec"]["versions"][0]["schema"]["openAPIV3Schema"] =
        json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    serde_json::from_value(value).unwrap()
}

async fn store_unreadable(server: &ApiServer, name: &str) {
    server.install(&lax());
    let object: DynamicObject = serde_json::from_value(json!({
        "apiVersion": "medley.health/v1alpha1", "kind": "WorkflowRun",
        "metadata": {"name": name, "namespace": NAMESPACE}, "spec": {"workflow": ["not", "a", "name"]},
    }))
    .unwrap();
    let kind = ApiResource::erase::<WorkflowRun>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(server.client_as("somebody"), NAMESPACE, &kind);
    api.create(&PostParams::default(), &object).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_object_that_cannot_be_read_stops_no_other() {
    for before_the_start in [true, false] {
        let stage = prepared(vec![call("count").step()]).await;
        if before_the_start {
            store_unreadable(&stage.server, "broken").await;
        }
        let operator = stage.start("op-1");
        stage.run("r1", "ct").await;
        assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
        if !before_the_start {
            store_unreadable(&stage.server, "broken").await;
        }
        stage.run("r2", "ct").await;
        assert_eq!(stage.ended("r2").await, RunPhase::Succeeded);
        let kind = medley::telemetry::Kind { kind: "WorkflowRun".to_owned() };
        assert_eq!(operator.metrics.malformed.get_or_create(&kind).get(), 1, "it is counted, for an alert");
        operator.stop().await;
    }
}
