//! The whole operator, with a server of its own to look after, and what Redis then tells of it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use harness::simulated::ApiServer;
use kube::{Api, api::PostParams};
use medley::{
    api::medical_service::EndpointReason,
    api::{MedicalService, schema::crds},
    cluster::{clock::Clock, leader},
    core::{
        discovery::target::{ProbeTarget, Probed},
        monitoring::health::ProbeOutcome,
    },
    loops::{dns, prober::ProbeIo},
    medical::calls,
    operator::{Operator, Settings, World},
    telemetry::Metrics,
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    servers::{Kind, Server},
    stage::{settings, until},
};

/// An archive that listens or does not: services outside the cluster are on no loopback address, where a test could have one.
struct Archive(Arc<AtomicBool>);

impl ProbeIo for Archive {
    async fn probe(&self, _: &ProbeTarget) -> Probed {
        let listens = self.0.load(Ordering::Relaxed);
        if listens { ProbeOutcome::Answered.into() } else { ProbeOutcome::Failed(EndpointReason::TcpRefused).into() }
    }
}

/// The kinds without rules in CEL, which are no matter here.
fn without_rules(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.remove("x-kubernetes-validations");
            map.values_mut().for_each(without_rules);
        }
        Value::Array(items) => items.iter_mut().for_each(without_rules),
        _ => {}
    }
}

fn api_server() -> ApiServer {
    let kinds = crds().into_iter().map(|crd| {
        let mut value = serde_json::to_value(crd).unwrap();
        without_rules(&mut value);
        serde_json::from_value(value).unwrap()
    });
    ApiServer::builder().crds(kinds).build()
}

#[tokio::test]
#[ignore = "needs redis-server of Debian: make test-peers"]
async fn what_the_operator_finds_out_of_an_endpoint_is_in_redis_and_a_server_that_hangs_holds_nothing_up() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let redis = Server::start(Kind::Redis).await;
    let api = api_server();
    let listens = Arc::new(AtomicBool::new(true));
    let lease = leader::Settings {
        namespace: "medley".to_owned(),
        name: "medley".to_owned(),
        identity: "one".to_owned(),
        duration: Duration::from_secs(15),
        renew_deadline: Duration::from_secs(10),
        retry_period: Duration::from_secs(2),
    };
    let settings = Settings {
        namespaces: Vec::new(),
        cluster_domain: "cluster.local".to_owned(),
        workers: 4,
        pools: true,
        guard: Arc::default(),
        mirrors: settings(Some(&redis), None, Duration::from_secs(60)),
        lease,
    };
    let world = World {
        client: api.client(),
        calls: calls::Network::new(Arc::default(), Arc::default()).unwrap(),
        probes: Archive(Arc::clone(&listens)),
        lookups: dns::NameServers::from_system().unwrap(),
        signals: None,
        clock: Clock::System,
    };
    let stop = CancellationToken::new();
    let operator = tokio::spawn(Operator::new(settings, world, Metrics::default()).run(stop.clone()));

    let services: Api<MedicalService> = Api::namespaced(api.client(), "radiology");
    let probe = json!({"level": "Transport", "interval": "1s", "timeout": "1s", "failureThreshold": 1});
    let service: MedicalService = serde_json::from_value(json!({
        "apiVersion": "medley.health/v1alpha1", "kind": "MedicalService", "metadata": {"name": "archive"},
        "spec": {"external": {"endpoints": [{"host": "192.0.2.1"}]},
            "interfaces": [{"name": "dicom", "port": 104, "protocol": "DICOM", "probe": probe}]}
    }))
    .unwrap();
    services.create(&PostParams::default(), &service).await.unwrap();
    let ready = async |wanted: &str| {
        let answer = redis.ask(&["HGET", "medley:service:radiology/archive", "ready"]).await;
        answer == redis::Value::BulkString(wanted.as_bytes().to_vec())
    };
    until("the endpoint is ready in Redis", || ready("1")).await;
    assert_eq!(
        redis.ask(&["HGET", "medley:service:radiology/archive", "dnsName"]).await,
        redis::Value::BulkString(b"archive.radiology.svc.cluster.local".to_vec())
    );
    listens.store(false, Ordering::Relaxed);
    until("it is not ready any more", || ready("0")).await;

    redis.freeze();
    let status = async || services.get("archive").await.unwrap().status.unwrap();
    let other: MedicalService = serde_json::from_value(json!({
        "apiVersion": "medley.health/v1alpha1", "kind": "MedicalService", "metadata": {"name": "other"},
        "spec": {"external": {"endpoints": [{"host": "192.0.2.1"}]}, "interfaces": [{"name": "dicom", "port": 104, "protocol": "DICOM", "probe": probe}]}
    }))
    .unwrap();
    services.create(&PostParams::default(), &other).await.unwrap();
    let done = async || services.get("other").await.unwrap().status.is_some_and(|s| s.total == Some(1));
    let took = until("services are looked after while Redis hangs", done).await;
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!(status().await.ready, Some(0));
    services.delete("archive", &Default::default()).await.unwrap();
    redis.thaw();
    let gone = async || redis.ask(&["EXISTS", "medley:service:radiology/archive"]).await == redis::Value::Int(0);
    until("what was deleted meanwhile is gone", gone).await;
    until("what was made meanwhile is there", async || {
        redis.ask(&["EXISTS", "medley:service:radiology/other"]).await == redis::Value::Int(1)
    })
    .await;
    stop.cancel();
    operator.await.unwrap();
}
