//! Are containers handed over to Kueue where a policy says so? Kueue itself is played here: it opens the gates of pods and resumes Jobs.

use std::time::Duration;

use kube::{Api, api::DeleteParams};
use medley::api::{ServicePolicy, workflow_run::RunPhase};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    stage::{NAMESPACE, Stage},
    steps::{container, get},
    world::{exits, hangs, works},
};

async fn handed_over() -> Stage {
    let stage = Stage::new();
    stage.service("archive", &["10.0.0.1"]).await;
    stage.create::<ServicePolicy>("all", json!({"scheduling": {"kueueQueue": "gpus"}})).await;
    stage.start("op-1");
    stage
}

fn object(stage: &Stage, kind: &str, name: &str) -> Option<Value> {
    stage.server.object(kind, NAMESPACE, name)
}

#[tokio::test(start_paused = true)]
async fn a_pod_waits_at_its_gate_for_as_long_as_it_takes_and_its_timeout_counts_from_its_start() {
    let stage = handed_over().await;
    stage.world.fates("measure", [works(Duration::from_secs(50), &json!({}))]);
    stage.workflow("ct", [container("measure").timeout("1m").step()]).await;
    stage.run("r1", "ct").await;
    stage.until("its pod is there", Duration::from_secs(60), |s| object(s, "Pod", "r1-measure-1").is_some()).await;
    let pod = object(&stage, "Pod", "r1-measure-1").unwrap();
    assert_eq!(pod["metadata"]["labels"]["kueue.x-k8s.io/queue-name"], "gpus");
    assert_eq!(pod["spec"]["schedulingGates"], json!([{"name": "kueue.x-k8s.io/admission"}]));
    sleep(Duration::from_secs(2 * 3600)).await;
    let step = stage.step("r1", "measure");
    assert_eq!(
        (&step["phase"], &step["message"]),
        (&json!("Starting"), &json!("Kueue has not admitted its pod yet (LocalQueue `gpus`)"))
    );
    stage.server.patch("Pod", NAMESPACE, "r1-measure-1", &json!({"spec": {"schedulingGates": null}})).unwrap();
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
    assert_eq!(stage.step("r1", "measure")["attempt"], json!(1));
    assert_eq!(stage.step("r1", "measure")["message"], Value::Null);
    stage.assert_monotone();
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_works_for_too_long_after_its_gate_was_opened_fails() {
    let stage = handed_over().await;
    stage.world.fates("measure", [works(Duration::from_secs(90), &json!({}))]);
    stage.workflow("ct", [container("measure").timeout("1m").step()]).await;
    stage.run("r1", "ct").await;
    sleep(Duration::from_secs(600)).await;
    stage.server.patch("Pod", NAMESPACE, "r1-measure-1", &json!({"spec": {"schedulingGates": null}})).unwrap();
    assert_eq!(stage.ended("r1").await, RunPhase::Failed);
    assert_eq!(stage.step("r1", "measure")["reason"], "Timeout");
}

#[tokio::test(start_paused = true)]
async fn a_job_is_suspended_until_kueue_resumes_it_and_its_pods_have_no_gate() {
    let stage = handed_over().await;
    stage.workflow("many", [container("part").timeout("1m").each(json!({"count": 6, "maxParallel": 3})).step()]).await;
    stage.run("r1", "many").await;
    stage.until("its Job is there", Duration::from_secs(60), |s| object(s, "Job", "r1-part").is_some()).await;
    let job = object(&stage, "Job", "r1-part").unwrap();
    assert_eq!(
        (&job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"], &job["spec"]["suspend"]),
        (&json!("gpus"), &json!(true))
    );
    let template = &job["spec"]["template"];
    assert_eq!(
        (&template["spec"]["schedulingGates"], &template["metadata"]["labels"]["kueue.x-k8s.io/queue-name"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(template["spec"]["priorityClassName"], "medley-routine", "Kueue orders by it");
    sleep(Duration::from_secs(3600)).await;
    let step = stage.step("r1", "part");
    let message = "Kueue has not admitted its Job yet, or has suspended it (LocalQueue `gpus`)";
    assert_eq!((&step["phase"], &step["message"]), (&json!("Starting"), &json!(message)), "its deadline stands still");
    stage.server.patch("Job", NAMESPACE, "r1-part", &json!({"spec": {"suspend": false}})).unwrap();
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
    stage.assert_monotone();
}

#[tokio::test(start_paused = true)]
async fn what_undoes_a_step_is_not_handed_over_and_a_cancelled_run_leaves_no_gated_pod() {
    let stage = handed_over().await;
    stage.world.fates("burn", [exits(1)]);
    let undone = json!({"container": {"image": "localhost/tool:1"}});
    stage.workflow("ct", [container("copy").undone_by(undone).step(), container("burn").after(&["copy"]).step()]).await;
    stage.workflow("plain", [container("wait").undone_by(get("/undo")).step()]).await;
    stage.run("r1", "ct").await;
    stage.run("r2", "plain").await;
    for pod in ["r1-copy-1", "r1-burn-1"] {
        stage.until(pod, Duration::from_secs(60), |s| object(s, "Pod", pod).is_some()).await;
        stage.server.patch("Pod", NAMESPACE, pod, &json!({"spec": {"schedulingGates": null}})).unwrap();
    }
    assert_eq!(stage.ended("r1").await, RunPhase::Failed);
    let undone = stage.stored("r1").status.unwrap().compensations["copy"].clone();
    assert_eq!(json!(undone.phase), json!("Succeeded"), "nobody opened a gate for it");
    stage.cancel("r2").await;
    assert_eq!(stage.ended("r2").await, RunPhase::Canceled);
    stage.rest().await;
    assert!(object(&stage, "Pod", "r2-wait-1").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_pool_and_a_queue_contradict_each_other() {
    let stage = handed_over().await;
    stage.create::<ServicePolicy>("pooled", json!({"scheduling": {"pool": "main"}})).await;
    stage.workflow("ct", [container("measure").step()]).await;
    stage.run("r1", "ct").await;
    stage.rest().await;
    assert_eq!((stage.phase("r1"), stage.reason("r1").as_str()), (Some(RunPhase::Pending), "PolicyConflict"));
    assert!(stage.message("r1").ends_with("name different pools or queues: nothing starts until one is changed"));
}

#[tokio::test(start_paused = true)]
async fn what_was_handed_over_stays_so_when_the_policy_goes_and_what_was_not_does_not_become_so() {
    let stage = handed_over().await;
    stage.world.fates("measure", [works(Duration::from_secs(50), &json!({}))]);
    stage.workflow("ct", [container("measure").timeout("1m").step()]).await;
    stage.run("r1", "ct").await;
    sleep(Duration::from_secs(3600)).await;
    let policies: Api<ServicePolicy> = Api::namespaced(stage.server.client_as("admin"), NAMESPACE);
    policies.delete("all", &DeleteParams::default()).await.unwrap();
    sleep(Duration::from_secs(600)).await;
    assert_eq!(stage.step("r1", "measure")["phase"], "Starting", "it has waited for longer than its timeout, and may");
    // of this one nobody said that it is to wait
    stage.world.fates("measure", [hangs()]);
    stage.run("r2", "ct").await;
    stage.until("r2 is at work", Duration::from_secs(10), |s| object(s, "Pod", "r2-measure-1").is_some()).await;
    stage.create::<ServicePolicy>("again", json!({"scheduling": {"kueueQueue": "gpus"}})).await;
    assert_eq!(stage.ended("r2").await, RunPhase::Failed);
    assert_eq!(stage.step("r2", "measure")["reason"], "Timeout");
    stage.server.patch("Pod", NAMESPACE, "r1-measure-1", &json!({"spec": {"schedulingGates": null}})).unwrap();
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
}
