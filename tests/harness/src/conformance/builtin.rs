//! Cases about the built-in kinds that medley writes.

use super::{Lab, causes, list_cases, merge_into, named, ok, refused, same, version};
use anyhow::ensure;
use serde_json::{Value, json};

list_cases!(
    a_deployment_applied_twice_changes_once,
    containers_and_variables_merge_by_name,
    a_service_keeps_ports_by_number_and_protocol,
    the_addresses_of_an_endpoint_slice_are_one_piece,
    a_controller_revision_keeps_its_data,
    a_disruption_budget_applied_twice_changes_once,
    a_new_pod_is_pending_and_its_status_is_written_apart,
    the_status_of_a_pod_lets_labels_through,
    an_event_is_created_and_counted_up,
);

fn container(name: &str, rest: Value) -> Value {
    let mut container = json!({"name": name, "image": "example.test/app:1", "imagePullPolicy": "IfNotPresent", "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File", "resources": {}});
    merge_into(&mut container, rest);
    container
}

fn deployment(containers: &Value) -> Value {
    let template = json!({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": containers}});
    named(
        "apps/v1",
        "Deployment",
        "a",
        json!({"spec": {"replicas": 0, "selector": {"matchLabels": {"app": "a"}}, "template": template}}),
    )
}

async fn a_deployment_applied_twice_changes_once(lab: Lab) -> anyhow::Result<()> {
    let body = deployment(&json!([container(
        "main",
        json!({"env": [{"name": "A", "value": "1"}], "ports": [{"containerPort": 80, "name": "http", "protocol": "TCP"}]})
    )]));
    let made = ok(lab.force("m", "deployments", "a", &body).await)?;
    same("generation", &made["metadata"]["generation"], &json!(1))?;
    let again = ok(lab.force("m", "deployments", "a", &body).await)?;
    // On a real cluster the deployment controller writes in between; ours and the generation must not.
    same("generation", &again["metadata"]["generation"], &json!(1))?;
    let now = ok(lab.force("m", "deployments", "a", &deployment(&json!([container("main", json!({}))]))).await)?;
    same("generation", &now["metadata"]["generation"], &json!(2))?;
    let main = &now["spec"]["template"]["spec"]["containers"][0];
    same("variables", &main["env"], &Value::Null)?;
    same("ports", &main["ports"], &Value::Null)
}

async fn containers_and_variables_merge_by_name(lab: Lab) -> anyhow::Result<()> {
    ok(lab
        .apply(
            "one",
            "deployments",
            "a",
            &deployment(&json!([container(
                "main",
                json!({"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]})
            )])),
        )
        .await)?;
    let side = json!([{"name": "main", "env": [{"name": "C", "value": "3"}]}, container("side", json!({}))]);
    let body = named("apps/v1", "Deployment", "a", json!({"spec": {"template": {"spec": {"containers": side}}}}));
    let now = ok(lab.apply("two", "deployments", "a", &body).await)?;
    let containers = now["spec"]["template"]["spec"]["containers"].as_array().cloned().unwrap_or_default();
    same("containers", &containers.len(), &2)?;
    let names: Vec<&str> =
        containers[0]["env"].as_array().into_iter().flatten().filter_map(|e| e["name"].as_str()).collect();
    ensure!(names.len() == 3 && ["A", "B", "C"].iter().all(|n| names.contains(n)), "variables: {names:?}");
    let other = named(
        "apps/v1",
        "Deployment",
        "a",
        json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "example.test/app:2"}]}}}}),
    );
    let status = refused(lab.apply("two", "deployments", "a", &other).await, 409, "Conflict")?;
    same("field", &causes(&status)[0].0.as_str(), &".spec.template.spec.containers[name=\"main\"].image")
}

async fn a_service_keeps_ports_by_number_and_protocol(lab: Lab) -> anyhow::Result<()> {
    let service = |ports: Value| named("v1", "Service", "a", json!({"spec": {"clusterIP": "None", "ports": ports}}));
    let port = |name: &str, number: u16, protocol: &str| json!({"name": name, "port": number, "protocol": protocol, "targetPort": number});
    let both = service(json!([port("dicom", 104, "TCP"), port("log", 104, "UDP")]));
    let made = ok(lab.force("m", "services", "a", &both).await)?;
    same("ports", &made["spec"]["ports"].as_array().map(Vec::len), &Some(2))?;
    same("again", &version(&ok(lab.force("m", "services", "a", &both).await)?), &version(&made))?;
    let now = ok(lab.force("m", "services", "a", &service(json!([port("log", 104, "UDP")]))).await)?;
    same("ports", &now["spec"]["ports"], &json!([port("log", 104, "UDP")]))
}

async fn the_addresses_of_an_endpoint_slice_are_one_piece(lab: Lab) -> anyhow::Result<()> {
    let slice = |addresses: &[&str]| {
        let endpoints: Vec<Value> =
            addresses.iter().map(|a| json!({"addresses": [a], "conditions": {"ready": true}})).collect();
        let rest = json!({
            "metadata": {"labels": {"kubernetes.io/service-name": "a"}}, "addressType": "IPv4", "endpoints": endpoints,
            "ports": [{"name": "dicom", "port": 104, "protocol": "TCP"}],
        });
        named("discovery.k8s.io/v1", "EndpointSlice", "a", rest)
    };
    let made = ok(lab.force("m", "endpointslices", "a", &slice(&["10.0.0.1", "10.0.0.2"])).await)?;
    same("generation", &made["metadata"]["generation"], &json!(1))?;
    same(
        "again",
        &version(&ok(lab.force("m", "endpointslices", "a", &slice(&["10.0.0.1", "10.0.0.2"])).await)?),
        &version(&made),
    )?;
    let now = ok(lab.force("m", "endpointslices", "a", &slice(&["10.0.0.2"])).await)?;
    same("endpoints", &now["endpoints"].as_array().map(Vec::len), &Some(1))?;
    same("generation", &now["metadata"]["generation"], &json!(2))?;
    let now = ok(lab.force("m", "endpointslices", "a", &slice(&[])).await)?;
    ensure!(now["endpoints"].as_array().is_none_or(Vec::is_empty), "endpoints left: {}", now["endpoints"]);
    Ok(())
}

async fn a_controller_revision_keeps_its_data(lab: Lab) -> anyhow::Result<()> {
    let data = json!({"spec": {"steps": [{"name": "x", "after": []}], "odd": {"deep": [1, 2.5, "t", true]}}});
    let body = named("apps/v1", "ControllerRevision", "a", json!({"revision": 3, "data": data}));
    let made = ok(lab.create("controllerrevisions", &body).await)?;
    same("data", &made["data"], &data)?;
    same("revision", &made["revision"], &json!(3))?;
    let body = named("apps/v1", "ControllerRevision", "b", json!({"revision": 1, "data": data}));
    let made = ok(lab.force("m", "controllerrevisions", "b", &body).await)?;
    same("again", &version(&ok(lab.force("m", "controllerrevisions", "b", &body).await)?), &version(&made))
}

async fn a_disruption_budget_applied_twice_changes_once(lab: Lab) -> anyhow::Result<()> {
    let body = named(
        "policy/v1",
        "PodDisruptionBudget",
        "a",
        json!({"spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "a"}}}}),
    );
    let made = ok(lab.force("m", "poddisruptionbudgets", "a", &body).await)?;
    same("generation", &made["metadata"]["generation"], &json!(1))?;
    same(
        "generation",
        &ok(lab.force("m", "poddisruptionbudgets", "a", &body).await)?["metadata"]["generation"],
        &json!(1),
    )
}

fn pod(rest: Value) -> Value {
    // A scheduler that does not exist keeps the pod pending on a real cluster too.
    let mut pod = named(
        "v1",
        "Pod",
        "a",
        json!({"spec": {"schedulerName": "nobody", "automountServiceAccountToken": false, "restartPolicy": "Never", "containers": [container("main", json!({}))]}}),
    );
    merge_into(&mut pod, rest);
    pod
}

async fn a_new_pod_is_pending_and_its_status_is_written_apart(lab: Lab) -> anyhow::Result<()> {
    let made = ok(lab.create("pods", &pod(json!({"status": {"phase": "Running"}}))).await)?;
    same("phase", &made["status"]["phase"], &json!("Pending"))?;
    same("generation", &made["metadata"]["generation"], &json!(1))?;
    let now = ok(lab.merge("pods", "a", &json!({"status": {"phase": "Failed"}})).await)?;
    same("phase", &now["status"]["phase"], &json!("Pending"))?;
    let now = ok(lab.merge("pods", "a/status", &json!({"status": {"phase": "Succeeded"}})).await)?;
    same("phase", &now["status"]["phase"], &json!("Succeeded"))?;
    same("generation", &now["metadata"]["generation"], &json!(1))?;
    let found = ok(lab.list("pods", "fieldSelector=status.phase%3DSucceeded").await)?;
    same("found by phase", &found["items"].as_array().map(Vec::len), &Some(1))?;
    let found = ok(lab.list("pods", "fieldSelector=status.phase!%3DSucceeded").await)?;
    same("found by other phases", &found["items"].as_array().map(Vec::len), &Some(0))
}

async fn the_status_of_a_pod_lets_labels_through(lab: Lab) -> anyhow::Result<()> {
    ok(lab.create("pods", &pod(json!({}))).await)?;
    let now =
        ok(lab.merge("pods", "a/status", &json!({"metadata": {"labels": {"x": "y"}}, "spec": {"priority": 5}})).await)?;
    same("labels", &now["metadata"]["labels"], &json!({"x": "y"}))?;
    ensure!(now["spec"]["priority"] != 5, "the spec was changed");
    Ok(())
}

async fn an_event_is_created_and_counted_up(lab: Lab) -> anyhow::Result<()> {
    let url = format!("/apis/events.k8s.io/v1/namespaces/{}/events", lab.namespace);
    let about = json!({"apiVersion": "v1", "kind": "Pod", "name": "a", "namespace": lab.namespace});
    let body = named(
        "events.k8s.io/v1",
        "Event",
        "a.1",
        json!({
            "action": "Testing", "eventTime": "2026-01-01T00:00:00.000000Z", "reason": "Tested", "type": "Normal", "note": "n",
            "regarding": about, "reportingController": "medley", "reportingInstance": "medley-1",
        }),
    );
    ok(lab.call("POST", &url, "application/json", Some(&body)).await)?;
    let patch = json!({"series": {"count": 2, "lastObservedTime": "2026-01-01T00:00:01.000000Z"}});
    let now = ok(lab.call("PATCH", &format!("{url}/a.1"), "application/merge-patch+json", Some(&patch)).await)?;
    same("count", &now["series"]["count"], &json!(2))
}
