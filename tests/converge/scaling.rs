//! Does the operator leave to an autoscaler what is the autoscaler's?

use std::time::Duration;

use medley::api::MedicalService;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::stage::{NAMESPACE, Stage};

/// Writes that took effect, without those of the lease.
fn writes(stage: &Stage) -> Vec<String> {
    let all = stage.calls_of("op-1").into_iter().filter(|r| r.call.is_write() && !r.call.is_event());
    all.filter(|r| r.call.resource != "leases").map(|r| format!("{} {}", r.call.verb, r.call.resource)).collect()
}

#[tokio::test(start_paused = true)]
async fn an_autoscaler_at_work_is_not_fought_and_its_status_costs_no_write() {
    let stage = Stage::new();
    let spec = json!({
        "workload": {"image": "localhost/viewer:1", "resources": {"requests": {"cpu": "500m"}}},
        "autoscaling": {"min": 2, "max": 10, "target": {"cpu": 70}},
        "interfaces": [{"name": "http", "port": 8080, "protocol": "HTTP"}],
    });
    stage.create::<MedicalService>("viewer", spec).await;
    stage.start("op-1");
    let there = |s: &Stage| s.server.object("HorizontalPodAutoscaler", NAMESPACE, "viewer").is_some();
    stage.until("it has an autoscaler", Duration::from_secs(10), there).await;
    stage.rest().await;
    let replicas = || stage.server.object("Deployment", NAMESPACE, "viewer").unwrap()["spec"]["replicas"].clone();
    assert_eq!(replicas(), 2);
    for wanted in [5, 9, 3] {
        stage.server.patch("Deployment", NAMESPACE, "viewer", &json!({"spec": {"replicas": wanted}})).unwrap();
        stage.rest().await;
        assert_eq!(replicas(), Value::from(wanted));
    }
    let before = writes(&stage).len();
    for minute in 0..60 {
        let status = json!({"currentReplicas": 3, "desiredReplicas": 3, "observedGeneration": minute});
        stage.server.patch_status("HorizontalPodAutoscaler", NAMESPACE, "viewer", &status).unwrap();
        sleep(Duration::from_secs(60)).await;
    }
    assert_eq!(writes(&stage).split_off(before), Vec::<String>::new());
    // somebody's change of it is set right
    let other = json!({"spec": {"maxReplicas": 90}});
    stage.server.patch("HorizontalPodAutoscaler", NAMESPACE, "viewer", &other).unwrap();
    let right = |s: &Stage| {
        s.server.object("HorizontalPodAutoscaler", NAMESPACE, "viewer").unwrap()["spec"]["maxReplicas"] == 10
    };
    stage.until("it is set right", Duration::from_secs(10), right).await;
}
