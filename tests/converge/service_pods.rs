//! The controllers and the kubelet of a service's pods: makes what a Deployment asks for, has their containers ready at once, and lists
//! them in a slice as ready as their gates allow.

use std::time::Duration;

use harness::simulated::ApiServer;
use k8s_openapi::api::{core::v1::Pod, discovery::v1::EndpointSlice};
use kube::{Api, api::PostParams};
use medley::render::{SERVICE_LABEL, gate};
use serde_json::{Value, json};
use tokio::{task::AbortHandle, time::sleep};

use super::stage::{NAMESPACE, Stage};

/// From a change to what follows from it.
const DELAY: Duration = Duration::from_millis(50);

/// Plays for a service until it is dropped.
pub(crate) struct Player(AbortHandle);

impl Drop for Player {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Name of a service's pod.
pub(crate) fn pod(service: &str, number: usize) -> String {
    format!("{service}-{number}")
}

/// Its address.
pub(crate) fn address(number: usize) -> String {
    format!("10.1.{}.{}", number / 250, number % 250 + 1)
}

/// Begins to play for a service.
pub(crate) fn play(stage: &Stage, service: &'static str) -> Player {
    let server = stage.server.clone();
    let (mut deployments, mut pods) = (server.tape("Deployment"), server.tape("Pod"));
    let task = tokio::spawn(async move {
        loop {
            let more = tokio::select! { d = deployments.next() => d.is_some(), p = pods.next() => p.is_some() };
            if !more {
                return;
            }
            sleep(DELAY).await;
            while deployments.try_next().is_some() || pods.try_next().is_some() {}
            settle(&server, service).await;
        }
    });
    Player(task.abort_handle())
}

async fn settle(server: &ApiServer, service: &str) {
    let Some(deployment) = server.object("Deployment", NAMESPACE, service) else { return };
    let count = usize::try_from(deployment["spec"]["replicas"].as_u64().unwrap()).unwrap();
    let client = server.client_as("controllers");
    let mut endpoints = Vec::new();
    for number in 0..count {
        let name = pod(service, number);
        if server.object("Pod", NAMESPACE, &name).is_none() {
            make(&client, &name, &deployment["spec"]["template"]).await;
        }
        endpoints.push(json!({
            "addresses": [address(number)], "conditions": {"ready": run(server, &name, number)},
            "targetRef": {"kind": "Pod", "name": name, "namespace": NAMESPACE},
        }));
    }
    let available = endpoints.iter().filter(|e| e["conditions"]["ready"] == true).count();
    let status = json!({
        "observedGeneration": deployment["metadata"]["generation"], "replicas": count, "updatedReplicas": count,
        "availableReplicas": available,
    });
    server.patch_status("Deployment", NAMESPACE, service, &status).unwrap();
    publish(server, &client, service, endpoints).await;
}

async fn make(client: &kube::Client, name: &str, template: &Value) {
    let made: Pod = serde_json::from_value(json!({
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": template["metadata"]["labels"]},
        "spec": {"containers": template["spec"]["containers"], "readinessGates": template["spec"]["readinessGates"]},
    }))
    .unwrap();
    Api::<Pod>::namespaced(client.clone(), NAMESPACE).create(&PostParams::default(), &made).await.unwrap();
}

/// The kubelet: the containers are ready, and the pod is when its gates are. Whether it is.
fn run(server: &ApiServer, name: &str, number: usize) -> bool {
    let stored = server.object("Pod", NAMESPACE, name).unwrap();
    let mut conditions = stored["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let holds = |type_: &str| conditions.iter().any(|c| c["type"] == type_ && c["status"] == "True");
    let gates = stored["spec"]["readinessGates"].as_array().cloned().unwrap_or_default();
    let ready = gates.iter().all(|g| holds(g["conditionType"].as_str().unwrap()));
    let word = if ready { "True" } else { "False" };
    conditions.retain(|c| c["type"] == gate::CONDITION);
    conditions.insert(0, json!({"type": "ContainersReady", "status": "True"}));
    conditions.push(json!({"type": "Ready", "status": word}));
    let status = json!({"phase": "Running", "podIP": address(number), "conditions": conditions});
    if stored["status"] != status {
        server.patch_status("Pod", NAMESPACE, name, &status).unwrap();
    }
    ready
}

async fn publish(server: &ApiServer, client: &kube::Client, service: &str, endpoints: Vec<Value>) {
    let name = format!("{service}-x7f2q");
    match server.object("EndpointSlice", NAMESPACE, &name) {
        Some(present) if present["endpoints"] == json!(endpoints) => {}
        Some(_) => {
            server.patch("EndpointSlice", NAMESPACE, &name, &json!({ "endpoints": endpoints })).unwrap();
        }
        None => {
            let slice: EndpointSlice = serde_json::from_value(json!({
                "metadata": {"name": name, "namespace": NAMESPACE, "labels": {
                    SERVICE_LABEL: service, "kubernetes.io/service-name": service,
                    "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
                }},
                "addressType": "IPv4", "ports": [{"name": "dicom", "port": 11112}], "endpoints": endpoints,
            }))
            .unwrap();
            let api = Api::<EndpointSlice>::namespaced(client.clone(), NAMESPACE);
            api.create(&PostParams::default(), &slice).await.unwrap();
        }
    }
}
