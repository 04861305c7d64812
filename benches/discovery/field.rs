//! 2,000 services outside the cluster with five endpoints each, probed by the shipped program.

use std::{net::Ipv4Addr, time::Duration};

use futures::{StreamExt, stream};
use kube::{Api, api::PostParams};
use medley::api::MedicalService;
use serde_json::{Value, json};

use super::{
    common::range::{Range, address},
    peers::{INTERVAL, Peers},
    protocols::Kind,
};
use crate::support::{operator::Operator, stage::Stage, until};

pub(crate) const SERVICES: usize = 2000;
/// Endpoints of each service.
const EACH: usize = 5;
pub(crate) const ENDPOINTS: usize = SERVICES * EACH;
/// Words for what services can do; every service has one.
pub(crate) const CAPABILITIES: usize = 50;
/// Objects that are made together.
const TOGETHER: usize = 16;
const LIMIT: Duration = Duration::from_secs(1800);
/// A lease that is kept while thousands of objects are made on few processors.
const LEASE: [(&str, &str); 3] =
    [("MEDLEY_LEASE_DURATION", "60s"), ("MEDLEY_RENEW_DEADLINE", "45s"), ("MEDLEY_RETRY_PERIOD", "2s")];

/// All of it, until it is dropped.
pub(crate) struct Field<'a> {
    pub(crate) stage: &'a Stage,
    /// Namespace of the services.
    pub(crate) space: String,
    pub(crate) peers: Peers,
    /// The leader; it has begun with all services there.
    pub(crate) operator: Operator,
    _range: Range,
}

/// Name of service number `i`.
pub(crate) fn name(i: usize) -> String {
    format!("s{i:04}")
}

/// How service number `i` is spoken to: every capability has services of all kinds.
pub(crate) fn kind(i: usize) -> Kind {
    Kind::MIX[i / CAPABILITIES % Kind::MIX.len()]
}

/// Address of endpoint number `n` of service number `i`.
pub(crate) fn host(i: usize, n: usize) -> Ipv4Addr {
    address(i * EACH + n)
}

fn service(i: usize, peers: &Peers) -> MedicalService {
    let kind = kind(i);
    let interval = format!("{}s", INTERVAL.as_secs());
    let mut probe = json!({ "level": "Protocol", "interval": interval, "failureThreshold": 1 });
    let mut interface = json!({ "name": kind.name(), "port": peers.port(kind) });
    match kind {
        Kind::Tcp => {
            probe["level"] = json!("Transport");
            interface["protocol"] = json!("DICOM");
        }
        Kind::Http => {
            interface["protocol"] = json!("HTTP");
            interface["http"] = json!({ "healthPath": "/health" });
        }
        Kind::Fhir => {
            interface["protocol"] = json!("FHIR");
            let resources = json!([{ "type": "Patient", "interactions": ["read", "create"] }]);
            interface["fhir"] = json!({ "version": "R4", "basePath": "/r4", "resources": resources });
        }
        Kind::Hl7 => interface["protocol"] = json!("HL7v2"),
        Kind::Dicom => {
            interface["protocol"] = json!("DICOM");
            interface["dicom"] = json!({ "calledAeTitle": "ARCHIVE" });
        }
    }
    interface["probe"] = probe;
    let hosts: Vec<Value> = (0..EACH).map(|n| json!({ "host": host(i, n).to_string() })).collect();
    serde_json::from_value(json!({
        "apiVersion": "medley.health/v1alpha1", "kind": "MedicalService", "metadata": { "name": name(i) },
        "spec": {
            "external": { "endpoints": hosts }, "interfaces": [interface],
            "capabilities": [format!("c{}", i % CAPABILITIES)], "attributes": { "site": format!("site-{}", i % 7) },
            "data": { "maxConfidentiality": "R", "purposes": ["TREAT"] },
        },
    }))
    .unwrap()
}

impl<'a> Field<'a> {
    /// Makes the services, waits until all endpoints are ready, and has another operator take over: its probes begin together, as they do
    /// after every restart.
    ///
    /// # Errors
    /// Why it cannot be, for a person who reads the table.
    pub(crate) async fn set(stage: &'a Stage) -> Result<Self, String> {
        let range = Range::make()?;
        let peers = Peers::start();
        let first = leading(stage, "one").await;
        let space = stage.namespace("bench-discovery");
        let api: Api<MedicalService> = Api::namespaced(stage.client.clone(), &space);
        let made = stream::iter((0..SERVICES).map(|i| service(i, &peers)));
        made.map(|service| {
            let api = &api;
            async move { api.create(&PostParams::default(), &service).await.unwrap() }
        })
        .buffer_unordered(TOGETHER)
        .for_each(|_| async {})
        .await;
        all_ready(&first).await;
        first.stop().await;
        let operator = leading(stage, "two").await;
        all_ready(&operator).await;
        Ok(Self { stage, space, peers, operator, _range: range })
    }

    /// Ends the operator. The objects go with the control plane: to remove thousands of them in one request is more than it does in time.
    pub(crate) async fn end(self) {
        self.operator.stop().await;
    }
}

async fn leading(stage: &Stage, replica: &'static str) -> Operator {
    let operator = Operator::start_with(stage, replica, &LEASE.map(|(name, value)| (name, value.to_owned()))).await;
    until("the operator leads", LIMIT, async || (operator.metric("medley_leader").await == 1.0).then_some(())).await;
    operator
}

async fn all_ready(operator: &Operator) {
    until("all endpoints are ready", LIMIT, async || {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let metrics = operator.metrics().await;
        let ready = metrics.iter().filter(|(name, _)| name.starts_with("medley_service_endpoints_ready{"));
        let ready: f64 = ready.map(|(_, value)| value).sum();
        (ready == ENDPOINTS as f64).then_some(())
    })
    .await;
}
