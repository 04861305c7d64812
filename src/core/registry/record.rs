//! What the registry tells of one service.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use kube::ResourceExt;
use serde::Serialize;

use crate::{
    api::{
        MedicalService,
        interface::Interface,
        medical_service::{EndpointReason, EndpointStatus},
        vocabulary::Protocol,
    },
    core::name::Key,
};

/// Most endpoints in one record, those that are ready first: a record stays below 1 MiB, which is the most that Memcached takes.
pub const MAX_ENDPOINTS: usize = 1600;

/// One service, as spec and status tell of it. Nothing in it is about a patient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its name in cluster DNS, once its status tells it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns_name: Option<String>,
    /// Endpoints that answer.
    pub ready: u32,
    /// All endpoints known.
    pub total: u32,
    /// Generation of the spec; 0 where the object has none.
    pub generation: i64,
    /// What it can do, as the spec declares.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<String>,
    /// Facts about it, as the spec declares.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
    /// How to talk to it, in the order of the spec.
    pub interfaces: Vec<InterfaceRecord>,
}

/// One way to talk to a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InterfaceRecord {
    /// Name of the Service's port, and of its SRV record.
    pub name: String,
    /// What it speaks.
    pub protocol: Protocol,
    /// Whether that is inside TLS.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tls: bool,
    /// Port of the Service.
    pub port: u16,
    /// What comes before the path of every request of an HTTP or FHIR interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_path: Option<String>,
    /// Where it listens.
    pub endpoints: Vec<EndpointRecord>,
}

/// One endpoint of an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointRecord {
    /// IP address; the host name while it has none.
    pub address: String,
    /// Port at this address.
    pub port: u16,
    /// Topology zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Whether it gets traffic.
    pub ready: bool,
    /// Why: `Healthy`, or the layer that failed.
    pub reason: EndpointReason,
    /// Since when `ready` is what it is; absent where the status has no room for the endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}

/// Whether a service has more endpoints than its status lists, so that its slices tell of the others.
#[must_use]
pub fn needs_slices(service: &MedicalService) -> bool {
    service.status.as_ref().is_some_and(|s| s.total.is_some_and(|t| t as usize > s.endpoints.len()))
}

impl Record {
    /// What spec and status tell, and the slices of endpoints for which the status has no room.
    #[must_use]
    pub fn of(service: &MedicalService, slices: &[Arc<EndpointSlice>]) -> Self {
        let status = service.status.as_ref();
        let listed = status.map(|s| s.endpoints.as_slice()).unwrap_or_default();
        let slices = if needs_slices(service) { slices } else { &[] };
        let room = MAX_ENDPOINTS / service.spec.interfaces.len().max(1);
        Self {
            namespace: service.namespace().unwrap_or_default(),
            name: service.name_any(),
            dns_name: status.and_then(|s| s.dns_name.clone()),
            ready: status.and_then(|s| s.ready).unwrap_or(0),
            total: status.and_then(|s| s.total).unwrap_or(0),
            generation: service.metadata.generation.unwrap_or(0),
            capabilities: service.spec.capabilities.clone(),
            attributes: service.spec.attributes.clone(),
            interfaces: service.spec.interfaces.iter().map(|i| interface(i, listed, slices, room)).collect(),
        }
    }

    /// Whose record it is.
    #[must_use]
    pub fn key(&self) -> Key {
        Key::new(&self.namespace, &self.name)
    }

    /// What the service speaks.
    #[must_use]
    pub fn protocols(&self) -> BTreeSet<Protocol> {
        self.interfaces.iter().map(|i| i.protocol).collect()
    }
}

fn interface(
    spec: &Interface,
    listed: &[EndpointStatus],
    slices: &[Arc<EndpointSlice>],
    room: usize,
) -> InterfaceRecord {
    let port = spec.target_port.unwrap_or(spec.port);
    // an endpoint without an interface is a pod or a host as a whole: it is one of each interface
    let of_it = listed.iter().filter(|e| e.interface.as_ref().is_none_or(|i| *i == spec.name));
    let mut endpoints: Vec<EndpointRecord> = of_it
        .map(|e| EndpointRecord {
            address: e.address.clone(),
            port,
            zone: e.zone.clone(),
            ready: e.ready,
            reason: e.reason,
            since: Some(e.since),
        })
        .collect();
    let known: BTreeSet<String> = endpoints.iter().map(|e| e.address.clone()).collect();
    endpoints.extend(beyond(&spec.name, slices).into_values().filter(|e| !known.contains(&e.address)));
    if endpoints.len() > room {
        endpoints.sort_by_key(|e| !e.ready);
        endpoints.truncate(room);
    }
    InterfaceRecord {
        name: spec.name.clone(),
        protocol: spec.protocol,
        tls: spec.tls.is_some(),
        port: spec.port,
        base_path: spec
            .http
            .as_ref()
            .and_then(|h| h.base_path.clone())
            .or_else(|| spec.fhir.as_ref().and_then(|f| f.base_path.clone())),
        endpoints,
    }
}

/// The endpoints that slices tell of, by address.
fn beyond(interface: &str, slices: &[Arc<EndpointSlice>]) -> BTreeMap<String, EndpointRecord> {
    let mut found = BTreeMap::new();
    for slice in slices {
        let port = slice.ports.iter().flatten().find(|p| p.name.as_deref() == Some(interface)).and_then(|p| p.port);
        let Some(port) = port.and_then(|p| u16::try_from(p).ok()) else { continue };
        for endpoint in slice.endpoints.iter().flatten() {
            let (ready, reason) = health(endpoint);
            for address in &endpoint.addresses {
                let zone = endpoint.zone.clone();
                let record = EndpointRecord { address: address.clone(), port, zone, ready, reason, since: None };
                found.insert(address.clone(), record);
            }
        }
    }
    found
}

/// What a slice says of an endpoint. No word about readiness means ready (discovery.k8s.io/v1).
fn health(endpoint: &Endpoint) -> (bool, EndpointReason) {
    let conditions = endpoint.conditions.as_ref();
    if conditions.and_then(|c| c.ready).unwrap_or(true) {
        (true, EndpointReason::Healthy)
    } else if conditions.and_then(|c| c.terminating).unwrap_or(false) {
        (false, EndpointReason::Terminating)
    } else {
        (false, EndpointReason::PodNotReady)
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::discovery::v1::{EndpointConditions, EndpointPort};
    use serde_json::json;

    use super::*;

    fn service(endpoints: &[(&str, Option<&str>, bool)], total: usize) -> MedicalService {
        let listed: Vec<_> = endpoints
            .iter()
            .map(|(address, interface, ready)| {
                let reason = if *ready { "Healthy" } else { "TcpRefused" };
                let mut value =
                    json!({"address": address, "ready": ready, "reason": reason, "since": "2026-01-01T00:00:00Z"});
                if let Some(interface) = interface {
                    value["interface"] = json!(interface);
                }
                value
            })
            .collect();
        serde_json::from_value(json!({
            "apiVersion": "medley.health/v1alpha1", "kind": "MedicalService",
            "metadata": {"namespace": "radiology", "name": "pacs", "generation": 3},
            "spec": {
                "select": {"matchLabels": {"app": "pacs"}},
                "interfaces": [
                    {"name": "dicom", "port": 104, "targetPort": 4242, "protocol": "DICOM"},
                    {"name": "fhir", "port": 80, "protocol": "FHIR", "fhir": {"basePath": "/fhir"}}
                ]
            },
            "status": {"dnsName": "pacs.radiology.svc.cluster.local", "ready": 1, "total": total, "endpoints": listed}
        }))
        .unwrap()
    }

    fn slice(addresses: &[(&str, Option<bool>, bool)]) -> Arc<EndpointSlice> {
        let endpoint = |(address, ready, terminating): &(&str, Option<bool>, bool)| Endpoint {
            addresses: vec![(*address).to_owned()],
            conditions: Some(EndpointConditions {
                ready: *ready,
                terminating: Some(*terminating),
                ..EndpointConditions::default()
            }),
            ..Endpoint::default()
        };
        Arc::new(EndpointSlice {
            ports: Some(vec![EndpointPort {
                name: Some("dicom".to_owned()),
                port: Some(4242),
                ..EndpointPort::default()
            }]),
            endpoints: Some(addresses.iter().map(endpoint).collect()),
            ..EndpointSlice::default()
        })
    }

    #[test]
    fn an_endpoint_without_an_interface_is_one_of_each_at_the_port_of_the_pods() {
        let record = Record::of(&service(&[("10.0.0.1", None, true), ("10.0.0.2", Some("fhir"), false)], 2), &[]);
        let shown = |i: usize| -> Vec<(String, u16, bool)> {
            record.interfaces[i].endpoints.iter().map(|e| (e.address.clone(), e.port, e.ready)).collect()
        };
        assert_eq!(shown(0), [("10.0.0.1".to_owned(), 4242, true)]);
        assert_eq!(shown(1), [("10.0.0.1".to_owned(), 80, true), ("10.0.0.2".to_owned(), 80, false)]);
        assert_eq!(record.interfaces[1].base_path.as_deref(), Some("/fhir"));
        assert_eq!((record.generation, record.ready, record.total), (3, 1, 2));
    }

    #[test]
    fn slices_tell_of_the_endpoints_for_which_the_status_has_no_room_and_of_no_other() {
        let slices = [
            slice(&[("10.0.0.1", Some(false), false), ("10.0.0.3", None, false)]),
            slice(&[("10.0.0.4", Some(false), true)]),
        ];
        let whole = Record::of(&service(&[("10.0.0.1", None, true)], 1), &slices);
        assert_eq!(whole.interfaces[0].endpoints.len(), 1, "the status is whole");
        let record = Record::of(&service(&[("10.0.0.1", None, true)], 3), &slices);
        let shown: Vec<_> =
            record.interfaces[0].endpoints.iter().map(|e| (e.address.as_str(), e.reason, e.since.is_some())).collect();
        assert_eq!(
            shown,
            [
                ("10.0.0.1", EndpointReason::Healthy, true),
                ("10.0.0.3", EndpointReason::Healthy, false),
                ("10.0.0.4", EndpointReason::Terminating, false)
            ]
        );
        assert_eq!(record.interfaces[1].endpoints.len(), 1, "no slice has a port named fhir");
    }

    #[test]
    fn of_too_many_endpoints_those_that_are_ready_stay() {
        let addresses: Vec<String> = (0..3000).map(|i| format!("10.{}.{}.1", i / 250, i % 250)).collect();
        let endpoints: Vec<_> =
            addresses.iter().enumerate().map(|(i, a)| (a.as_str(), Some(i % 2 == 0), false)).collect();
        let record = Record::of(&service(&[("192.0.2.1", None, false)], 3001), &[slice(&endpoints)]);
        let shown = &record.interfaces[0].endpoints;
        assert_eq!(shown.len(), MAX_ENDPOINTS / 2);
        assert!(shown.iter().all(|e| e.ready));
        assert!(serde_json::to_vec(&record).unwrap().len() < 1 << 20);
    }
}
