//! Where does no call go, whoever registers it? Kubernetes itself accepts the addresses used here as endpoints.

use std::time::Duration;

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{Api, api::PostParams};
use medley::api::workflow_run::RunPhase;
use serde_json::json;

use super::{
    stage::{NAMESPACE, Stage},
    steps::call,
};

/// Where clouds hand out credentials over IPv6.
const METADATA: &str = "fd00:ec2::254";

#[tokio::test(start_paused = true)]
async fn a_registered_address_that_medley_must_not_reach_gets_no_call_and_the_step_says_why() {
    let stage = Stage::new();
    stage.service("archive", &[METADATA]).await;
    stage.workflow("ct", [call("steal").timeout("30s").step()]).await;
    stage.start("op-1");
    let told = |s: &Stage| {
        let service = s.server.object("MedicalService", NAMESPACE, "archive").unwrap();
        service["status"]["endpoints"][0]["reason"] == "AddressRefused"
    };
    stage.until("the status says it", Duration::from_secs(10), told).await;
    stage.run("r1", "ct").await;
    assert_eq!(stage.ended("r1").await, RunPhase::Failed);
    let step = stage.step("r1", "steal");
    assert_eq!(step["reason"], "Configuration", "{step}");
    let message = step["message"].as_str().unwrap();
    assert!(message.contains(METADATA) && message.contains("calls.allowedRanges"), "{message}");
    stage.rest().await;
    assert!(stage.world.requests().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_forged_slice_draws_no_call() {
    let stage = Stage::new();
    stage.service("archive", &["10.0.0.1"]).await;
    let names: Vec<String> = (0..20).map(|n| format!("s{n}")).collect();
    stage.workflow("ct", names.iter().map(|n| call(n).step())).await;
    let forged: EndpointSlice = serde_json::from_value(json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": "forged", "namespace": NAMESPACE, "labels": {"medley.health/service": "archive"}},
        "addressType": "IPv6", "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
        "endpoints": [{"addresses": [METADATA], "conditions": {"ready": true}}],
    }))
    .unwrap();
    let api: Api<EndpointSlice> = Api::namespaced(stage.server.client_as("tenant"), NAMESPACE);
    api.create(&PostParams::default(), &forged).await.unwrap();
    stage.start("op-1");
    stage.run("r1", "ct").await;
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
    let requests = stage.world.requests();
    assert_eq!(requests.len(), names.len());
    assert!(requests.iter().all(|r| r.to.to_string() == "10.0.0.1:8080"), "{requests:#?}");
}
