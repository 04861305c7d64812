//! A stat run and a batch pod on the only slot, on a real API server.

use std::time::Duration;

use serde_json::json;

use crate::support::{stage::Stage, until};

const LIMIT: Duration = Duration::from_secs(60);

/// The batch pod gives way, the stat run ends well, and the batch step begins its next attempt.
pub(crate) async fn goes_to_the_stat_run(stage: &Stage) {
    let space = stage.namespace("capacity");
    let here = json!({ "matchLabels": { "kubernetes.io/metadata.name": space } });
    let pool = json!({ "apiVersion": "medley.health/v1alpha1", "kind": "CapacityPool", "metadata": { "name": space }, "spec": {
        "resources": { "slots": "1" }, "shares": [{ "name": "here", "namespaceSelector": here }] } });
    stage.cluster.kubectl_with_input(&["apply", "-f", "-"], &pool.to_string()).unwrap();
    let policy = json!({ "apiVersion": "medley.health/v1alpha1", "kind": "ServicePolicy", "metadata": { "name": "all" }, "spec": {
        "scheduling": { "pool": space } } });
    stage.apply(&space, &policy.to_string());
    for (name, image, interruptible) in [("old", "never-ends", true), ("stroke", "fake", false)] {
        let step = json!({ "name": "work", "interruptible": interruptible, "holds": { "slots": "1" }, "container": { "image": image } });
        let workflow = json!({ "apiVersion": "medley.health/v1alpha1", "kind": "Workflow", "metadata": { "name": name },
            "spec": { "steps": [step] } });
        stage.apply(&space, &workflow.to_string());
        stage.ready(&space, &format!("mwf/{name}"));
    }
    run(stage, &space, "batch", "old", "batch");
    let phase = "--for=jsonpath={.status.steps.work.phase}=Running";
    stage.kubectl(&["wait", "-n", &space, phase, "mrun/batch", "--timeout=30s"]);
    run(stage, &space, "now", "stroke", "stat");
    stage.kubectl(&["wait", "-n", &space, "--for=condition=Succeeded", "mrun/now", "--timeout=60s"]);
    let again = "--for=jsonpath={.status.steps.work.attempt}=2";
    stage.kubectl(&["wait", "-n", &space, again, "mrun/batch", "--timeout=60s"]);
    until("the pool tells what is granted", LIMIT, async || {
        let granted = stage.kubectl(&["get", "mpool", &space, "-o", "jsonpath={.status.granted.slots}"]);
        (granted == "1").then_some(())
    })
    .await;
    stage.kubectl(&["patch", "-n", &space, "mrun/batch", "--type=merge", "-p", r#"{"spec":{"cancel":true}}"#]);
    stage.kubectl(&["wait", "-n", &space, "--for=jsonpath={.status.phase}=Canceled", "mrun/batch", "--timeout=60s"]);
    stage.remove_namespace(&space);
    // the pool stays until the end: a leader that takes over lists the runs under way because of it
}

/// The example is accepted as it stands, and its quota refuses an urgent pod that somebody makes by hand.
pub(crate) fn example_keeps_urgent_pods_out(stage: &Stage) {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/shared-gpus");
    stage.kubectl(&["apply", "-f", example]);
    let pod = |class: &str| {
        let spec = json!({ "priorityClassName": class, "containers": [{ "name": "a", "image": "fake" }] });
        let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": class }, "spec": spec }).to_string();
        stage.cluster.kubectl_with_input(&["create", "-n", "gpus-research", "-f", "-"], &pod)
    };
    // pods need the namespace's account, which comes a moment after it
    stage.kubectl(&["wait", "-n", "gpus-research", "--for=create", "serviceaccount/default", "--timeout=30s"]);
    pod("medley-routine").unwrap();
    let refused = pod("medley-stat").unwrap_err().to_string();
    assert!(refused.contains("no-urgent-pods"), "{refused}");
    // first what the operator looks after: in a namespace that goes it could not make what belongs to it
    stage.remove_namespace("gpus-radiology");
    stage.remove_namespace("gpus-research");
    stage.kubectl(&["delete", "-f", &format!("{example}/pool.yaml"), "--wait=false"]);
}

fn run(stage: &Stage, space: &str, name: &str, workflow: &str, urgency: &str) {
    let run = json!({ "apiVersion": "medley.health/v1alpha1", "kind": "WorkflowRun", "metadata": { "name": name },
        "spec": { "workflow": workflow, "urgency": urgency } });
    stage.apply(space, &run.to_string());
}
