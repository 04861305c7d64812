//! Changes of a spec, and what others do to the operator's objects: what was made before is changed, made again or removed.

use std::time::Duration;

use serde_json::json;

use crate::support::{operator::Operator, requests::asked, stage::Stage, until};

const LIMIT: Duration = Duration::from_secs(30);

/// A service changes its size and its backend, a workflow changes often, a step is too slow, objects change under its hands.
pub(crate) async fn reach_what_was_made(stage: &Stage, operator: &Operator) {
    let space = stage.namespace("changes");
    a_service_changes(stage, &space).await;
    instances_are_told_and_go(stage, &space).await;
    a_workflow_changes(stage, &space).await;
    a_slow_step_is_stopped(stage, &space).await;
    a_pod_that_is_there_is_found(stage, operator, &space).await;
    a_revision_that_is_there_is_found(stage, operator, &space).await;
    an_answer_follows_its_services(stage, &space).await;
    for plural in ["medicalservices", "servicequeries", "workflows", "workflowruns"] {
        a_conflict_is_read_again(stage, operator, &space, plural).await;
    }
    stage.remove_namespace(&space);
}

async fn a_service_changes(stage: &Stage, space: &str) {
    let service = |backend: &str| {
        let backend: serde_json::Value = serde_saphyr::from_str(backend).unwrap();
        let mut spec = json!({ "interfaces": [{ "name": "http", "port": 80, "protocol": "HTTP" }] });
        spec.as_object_mut().unwrap().extend(backend.as_object().unwrap().clone());
        let object = json!({ "apiVersion": "medley.health/v1alpha1", "kind": "MedicalService", "metadata": { "name": "pacs" }, "spec": spec });
        stage.apply(space, &object.to_string());
    };
    service("{workload: {image: fake, replicas: 2}}");
    stage.ready(space, "msvc/pacs");
    stage.kubectl(&["get", "-n", space, "deployment/pacs", "service/pacs", "pdb/pacs"]);
    service("{workload: {image: fake, replicas: 1}}");
    stage.kubectl(&["wait", "-n", space, "--for=delete", "pdb/pacs", "--timeout=30s"]);
    // an address of a range for documentation: nobody answers there
    service("{external: {endpoints: [{host: 192.0.2.7}]}}");
    stage.kubectl(&["wait", "-n", space, "--for=delete", "deployment/pacs", "--timeout=30s"]);
    until("the external host has a slice", LIMIT, async || (!own_slices(stage, space).is_empty()).then_some(())).await;
    service("{workload: {image: fake, replicas: 1}}");
    until("the slice of the external host is gone", LIMIT, async || own_slices(stage, space).is_empty().then_some(()))
        .await;
    stage.ready(space, "msvc/pacs");
}

/// Instances with names of their own, of which each is told that nobody acknowledges there; all of it goes with the workload.
async fn instances_are_told_and_go(stage: &Stage, space: &str) {
    let probe = json!({ "level": "Protocol", "interval": "1s", "timeout": "1s", "failureThreshold": 1 });
    let service = |backend: serde_json::Value| {
        let mut spec = json!({ "interfaces": [{ "name": "adt", "port": 2575, "protocol": "HL7v2", "probe": probe }] });
        spec.as_object_mut().unwrap().extend(backend.as_object().unwrap().clone());
        let object = json!({ "apiVersion": "medley.health/v1alpha1", "kind": "MedicalService", "metadata": { "name": "lab" }, "spec": spec });
        stage.apply(space, &object.to_string());
    };
    let resources = json!({ "requests": { "cpu": "10m" } });
    service(json!({ "workload": { "image": "fake", "identity": "Stable", "resources": resources },
        "autoscaling": { "min": 2, "max": 3, "target": { "cpu": 70 } } }));
    let told = "jsonpath={.status.conditions[?(@.type==\"medley.health/protocol\")].status}";
    for pod in ["pod/lab-0", "pod/lab-1"] {
        until("the pod is told", LIMIT, async || {
            stage
                .cluster
                .kubectl(&["get", "-n", space, pod, "-o", told])
                .is_ok_and(|status| status == "False")
                .then_some(())
        })
        .await;
    }
    stage.kubectl(&["get", "-n", space, "statefulset/lab", "service/lab-instances", "hpa/lab"]);
    service(json!({ "external": { "endpoints": [{ "host": "192.0.2.8" }] } }));
    for gone in ["statefulset/lab", "service/lab-instances", "hpa/lab"] {
        stage.kubectl(&["wait", "-n", space, "--for=delete", gone, "--timeout=30s"]);
    }
}

/// Slices that medley made.
fn own_slices(stage: &Stage, space: &str) -> String {
    let names = "jsonpath={.items[?(@.metadata.ownerReferences[0].kind==\"MedicalService\")].metadata.name}";
    stage.kubectl(&["get", "-n", space, "endpointslices", "-o", names])
}

/// The pods of a service are in the answer of a query, and leave it with what the service can do.
async fn an_answer_follows_its_services(stage: &Stage, space: &str) {
    let query = json!({ "apiVersion": "medley.health/v1alpha1", "kind": "ServiceQuery", "metadata": { "name": "who" },
        "spec": { "capability": "archive", "protocol": "HTTP", "port": 80 } });
    stage.apply(space, &query.to_string());
    stage.kubectl(&["wait", "-n", space, "--for=condition=Ready", "mq/who", "--timeout=30s"]);
    let can = |words: &str| {
        let patch = json!({ "spec": { "capabilities": serde_json::from_str::<serde_json::Value>(words).unwrap() } });
        stage.kubectl(&["patch", "-n", space, "msvc/pacs", "--type=merge", "-p", &patch.to_string()]);
    };
    let answer = || {
        let addresses = "jsonpath={.items[*].endpoints[*].addresses[*]}";
        stage.kubectl(&["get", "-n", space, "endpointslices", "-l", "medley.health/query=who", "-o", addresses])
    };
    can(r#"["archive"]"#);
    stage.kubectl(&["wait", "-n", space, "--for=condition=Empty=False", "mq/who", "--timeout=30s"]);
    let pods = "jsonpath={.items[*].status.podIP}";
    until("the answer holds its pod", LIMIT, async || {
        let pod = stage.kubectl(&["get", "-n", space, "pods", "-l", "medley.health/service=pacs", "-o", pods]);
        (!pod.is_empty() && answer() == pod).then_some(())
    })
    .await;
    can("[]");
    until("it has left", LIMIT, async || answer().is_empty().then_some(())).await;
    stage.kubectl(&["wait", "-n", space, "--for=condition=Empty", "mq/who", "--timeout=30s"]);
}

async fn a_workflow_changes(stage: &Stage, space: &str) {
    for number in 1..=13 {
        let workflow = json!({ "apiVersion": "medley.health/v1alpha1", "kind": "Workflow", "metadata": { "name": "often" }, "spec": {
            "start": "OnApply", "retention": { "succeeded": 20 }, "steps": [{ "name": "work", "transform": { "expression": number.to_string() } }] } });
        stage.apply(space, &workflow.to_string());
        let observed = format!("--for=jsonpath={{.status.startedGeneration}}={number}");
        stage.kubectl(&["wait", "-n", space, &observed, "mwf/often", "--timeout=30s"]);
    }
    stage.kubectl(&["wait", "-n", space, "--for=condition=Succeeded", "mrun", "--all", "--timeout=30s"]);
    until("old revisions are gone", LIMIT, async || {
        let names = stage.kubectl(&[
            "get",
            "-n",
            space,
            "controllerrevisions",
            "-l",
            "medley.health/workflow=often",
            "-o",
            "name",
        ]);
        (names.lines().count() <= 11).then_some(())
    })
    .await;
    let patch = r#"{"spec":{"retention":{"succeeded":2}}}"#;
    stage.kubectl(&["patch", "-n", space, "mwf/often", "--type=merge", "-p", patch]);
    until("runs that are not kept are gone", LIMIT, async || {
        let names = stage.kubectl(&["get", "-n", space, "mrun", "-l", "medley.health/workflow=often", "-o", "name"]);
        (names.lines().count() <= 2).then_some(())
    })
    .await;
}

async fn a_slow_step_is_stopped(stage: &Stage, space: &str) {
    let workflow = json!({ "apiVersion": "medley.health/v1alpha1", "kind": "Workflow", "metadata": { "name": "slow" }, "spec": {
        "steps": [{ "name": "work", "timeout": "100ms", "retry": { "limit": 3, "errors": ["Timeout"], "backoff": { "initial": "10ms" } },
                    "safety": "Idempotent", "container": { "image": "fake" } }] } });
    stage.apply(space, &workflow.to_string());
    stage.ready(space, "mwf/slow");
    stage.start_run(space, "slow", "slow").await;
    stage.kubectl(&["wait", "-n", space, "--for=jsonpath={.status.phase}=Failed", "mrun/slow", "--timeout=30s"]);
}

/// A pod that somebody takes the label off is not made a second time: the API server knows it.
async fn a_pod_that_is_there_is_found(stage: &Stage, operator: &Operator, space: &str) {
    stage.one_pod_workflow(space, "hidden");
    let mut number = 0;
    until("the operator asks for a pod that it cannot see", LIMIT, async || {
        number += 1;
        let run = format!("hidden-{number}");
        stage.start_run(space, "hidden", &run).await;
        let pod = until("the run has a pod", LIMIT, async || {
            let status = stage.runs(space).get(&run).await.unwrap().status;
            status.and_then(|s| s.steps.get("work")?.pod.clone())
        })
        .await;
        until("the pod loses its label", LIMIT, async || {
            stage.cluster.kubectl(&["label", "-n", space, "pod", &pod, "medley.health/run-"]).ok()
        })
        .await;
        let seen = async || asked_for(stage, operator, space, "pods").await;
        let found = tokio::time::timeout(Duration::from_secs(2), until("", LIMIT, seen)).await.is_ok();
        stage.kubectl(&["label", "-n", space, "--overwrite", "pod", &pod, &format!("medley.health/run={run}")]);
        stage.kubectl(&[
            "wait",
            "-n",
            space,
            "--for=jsonpath={.status.finishedAt}",
            &format!("mrun/{run}"),
            "--timeout=30s",
        ]);
        found.then_some(())
    })
    .await;
}

/// A definition that somebody takes the label off is not stored a second time, and the workflow stays Ready.
async fn a_revision_that_is_there_is_found(stage: &Stage, operator: &Operator, space: &str) {
    let revision = stage.kubectl(&["get", "-n", space, "mwf/hidden", "-o", "jsonpath={.status.revision}"]);
    stage.kubectl(&["label", "-n", space, "controllerrevision", &revision, "medley.health/workflow-"]);
    until("the operator asks for a definition that it cannot see", LIMIT, async || {
        asked_for(stage, operator, space, "controllerrevisions").await
    })
    .await;
    stage.kubectl(&["label", "-n", space, "controllerrevision", &revision, "medley.health/workflow=hidden"]);
    stage.ready(space, "mwf/hidden");
}

/// Somebody changes an object all the time while the operator writes its status: the operator reads it and goes on.
async fn a_conflict_is_read_again(stage: &Stage, operator: &Operator, space: &str, plural: &str) {
    let spec = |number: usize| match plural {
        "medicalservices" => {
            json!({ "external": { "endpoints": [{ "host": format!("192.0.2.{}", number % 200 + 1) }] },
            "interfaces": [{ "name": "http", "port": 80, "protocol": "HTTP" }] })
        }
        "servicequeries" => json!({ "protocol": "DICOM", "port": number % 200 + 1 }),
        "workflows" => json!({ "steps": [{ "name": "work", "transform": { "expression": number.to_string() } }] }),
        _ => json!({ "workflow": "hidden" }),
    };
    let object = kube::api::ApiResource {
        group: "medley.health".into(),
        version: "v1alpha1".into(),
        api_version: "medley.health/v1alpha1".into(),
        kind: plural.into(),
        plural: plural.into(),
    };
    let api: kube::Api<kube::api::DynamicObject> = kube::Api::namespaced_with(stage.client.clone(), space, &object);
    let kind = match plural {
        "medicalservices" => "MedicalService",
        "servicequeries" => "ServiceQuery",
        "workflows" => "Workflow",
        _ => "WorkflowRun",
    };
    let params = kube::api::PatchParams::apply("test").force();
    let mut round = 0;
    until(&format!("the operator reads one of the {plural} after a conflict"), LIMIT * 2, async || {
        round += 1;
        let objects = (0..8).map(|object| {
            let (api, params) = (&api, &params);
            async move {
                for change in 0..8 {
                    // a run's spec cannot change and it soon ends, so each round has new ones
                    let name = match plural {
                        "workflowruns" => format!("busy-{round}-{object}"),
                        // a service has a Service of the other name
                        "servicequeries" => format!("asked-{object}"),
                        _ => format!("busy-{object}"),
                    };
                    let number = round * 8 + change;
                    let wish = json!({ "apiVersion": "medley.health/v1alpha1", "kind": kind,
                        "metadata": { "name": name, "labels": { "number": number.to_string() } }, "spec": spec(number) });
                    api.patch(&name, params, &kube::api::Patch::Apply(&wish)).await.unwrap();
                }
            }
        });
        futures::future::join_all(objects).await;
        asked_for(stage, operator, space, plural).await
    })
    .await;
}

async fn asked_for(stage: &Stage, operator: &Operator, space: &str, resource: &str) -> Option<()> {
    let requests = asked(stage).await;
    requests
        .iter()
        .any(|a| a.user == operator.user && a.namespace == space && a.resource == resource && a.verb == "get")
        .then_some(())
}
