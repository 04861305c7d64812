//! Pods of many items: one Job, few writes, and nothing left of it when the run is cancelled.

use std::time::Duration;

use serde_json::json;

use crate::support::{operator::Operator, requests::asked, stage::Stage, until};

const LIMIT: Duration = Duration::from_secs(60);

/// A hundred items cost at most twelve writes; a Job that is there is found; a cancelled one goes with its pods.
pub(crate) async fn is_one_job(stage: &Stage, operator: &Operator) {
    let space = stage.namespace("fan-out");
    workflow(stage, &space, "hundred", &json!({"count": 100, "maxParallel": 50}));
    stage.start_run(&space, "hundred", "hundred").await;
    stage.kubectl(&["wait", "-n", &space, "--for=condition=Succeeded", "mrun/hundred", "--timeout=120s"]);
    let done = stage.kubectl(&[
        "get",
        "-n",
        &space,
        "mrun/hundred",
        "-o",
        "jsonpath={.status.steps.work.items.indexes.succeeded}",
    ]);
    assert_eq!(done, "0-99");
    let requests = asked(stage).await;
    let writes: Vec<_> = requests
        .iter()
        .filter(|a| a.user == operator.user && a.namespace == space && a.is_write() && a.name.starts_with("hundred"))
        .filter(|a| ["jobs", "pods", "workflowruns", "workflowruns/status"].contains(&a.resource.as_str()))
        .collect();
    println!("          100 indexed pods: {} writes", writes.len());
    assert!(writes.len() <= 12, "{writes:#?}");
    a_job_that_is_there_is_found(stage, operator, &space).await;
    a_cancelled_job_goes_with_its_pods(stage, &space).await;
    stage.remove_namespace(&space);
}

fn workflow(stage: &Stage, space: &str, name: &str, each: &serde_json::Value) {
    let workflow = json!({ "apiVersion": "medley.health/v1alpha1", "kind": "Workflow", "metadata": { "name": name }, "spec": {
        "steps": [{ "name": "work", "forEach": each, "container": { "image": "fake", "args": ["$( index )"] } }] } });
    stage.apply(space, &workflow.to_string());
    stage.ready(space, &format!("mwf/{name}"));
}

/// A Job that bears the run's name and no label is not seen by the watch: the API server knows it.
async fn a_job_that_is_there_is_found(stage: &Stage, operator: &Operator, space: &str) {
    workflow(stage, space, "few", &json!({"count": 3}));
    let run = json!({ "apiVersion": "medley.health/v1alpha1", "kind": "WorkflowRun", "metadata": { "name": "few" },
        "spec": { "workflow": "few", "suspend": true } });
    stage.apply(space, &run.to_string());
    let uid = stage.kubectl(&["get", "-n", space, "mrun/few", "-o", "jsonpath={.metadata.uid}"]);
    let owner = json!({ "apiVersion": "medley.health/v1alpha1", "kind": "WorkflowRun", "name": "few", "uid": uid, "controller": true });
    let job = json!({ "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": "few-work", "ownerReferences": [owner] }, "spec": {
        "completionMode": "Indexed", "completions": 3, "parallelism": 3,
        "template": { "spec": { "restartPolicy": "Never", "containers": [{ "name": "step", "image": "fake" }] } } } });
    stage.apply(space, &job.to_string());
    stage.kubectl(&["patch", "-n", space, "mrun/few", "--type=merge", "-p", r#"{"spec":{"suspend":false}}"#]);
    until("the operator asks for a Job that it cannot see", LIMIT, async || {
        let requests = asked(stage).await;
        let is_one = |a: &&crate::support::requests::Asked| {
            a.user == operator.user && a.namespace == space && a.resource == "jobs" && a.verb == "get"
        };
        requests.iter().find(is_one).map(|_| ())
    })
    .await;
    stage.kubectl(&["label", "-n", space, "job/few-work", "medley.health/run=few"]);
    stage.kubectl(&["wait", "-n", space, "--for=condition=Succeeded", "mrun/few", "--timeout=60s"]);
}

async fn a_cancelled_job_goes_with_its_pods(stage: &Stage, space: &str) {
    workflow(stage, space, "long", &json!({"count": 2000, "maxParallel": 5}));
    stage.start_run(space, "long", "long").await;
    stage.kubectl(&["wait", "-n", space, "--for=create", "job/long-work", "--timeout=30s"]);
    stage.kubectl(&["patch", "-n", space, "mrun/long", "--type=merge", "-p", r#"{"spec":{"cancel":true}}"#]);
    stage.kubectl(&["wait", "-n", space, "--for=jsonpath={.status.phase}=Canceled", "mrun/long", "--timeout=120s"]);
    until("the Job and its pods are gone", LIMIT, async || {
        let left = stage.kubectl(&["get", "-n", space, "job/long-work", "--ignore-not-found", "-o", "name"])
            + &stage.kubectl(&["get", "-n", space, "pods", "-l", "medley.health/item-of=long", "-o", "name"]);
        left.is_empty().then_some(())
    })
    .await;
}
