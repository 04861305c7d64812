//! The endpoints of one interface of a service: which there are, and which of them are ready.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use k8s_openapi::api::discovery::v1::EndpointSlice;

use crate::{
    api::{MedicalService, interface::Interface},
    core::discovery::{address::usable, guard::AddressGuard},
};

/// One endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Where it is.
    pub endpoint: SocketAddr,
    /// Its topology zone.
    pub zone: Option<String>,
    /// Whether it gets traffic.
    pub ready: bool,
}

/// The endpoints of an interface, ordered by address: those of the service's slices, and as not ready the hosts outside the cluster
/// of which only its status tells, since slices hold those that are ready. That status is written after the slices, so it may still call
/// an endpoint ready that has just left them. One that may not be reached, or whose pod is being stopped, is none.
#[must_use]
pub fn endpoints<'s>(
    service: &MedicalService,
    interface: &Interface,
    slices: impl IntoIterator<Item = &'s EndpointSlice>,
    guard: &AddressGuard,
) -> Vec<Known> {
    let mut found: BTreeMap<SocketAddr, (bool, Option<String>)> = BTreeMap::new();
    let may = |address: &str| {
        let address: IpAddr = address.parse().ok()?;
        usable(address).filter(|a| guard.refusal(*a).is_none())
    };
    // while a pod moves from one slice to another it may be in both: ready wins, then the zone that comes first
    let mut add = |endpoint: SocketAddr, ready: bool, zone: Option<&String>| {
        let new = (ready, zone.cloned());
        let better = |old: &(bool, Option<String>)| (!new.0, &new.1) < (!old.0, &old.1);
        if found.get(&endpoint).is_none_or(better) {
            found.insert(endpoint, new);
        }
    };
    for slice in slices {
        let port = slice.ports.iter().flatten().find(|p| p.name.as_deref() == Some(interface.name.as_str()));
        let Some(port) = port.and_then(|p| u16::try_from(p.port?).ok()) else { continue };
        for endpoint in slice.endpoints.iter().flatten() {
            let conditions = endpoint.conditions.as_ref();
            // no word means ready (Kubernetes API)
            let ready = conditions.and_then(|c| c.ready) != Some(false);
            if !ready && conditions.and_then(|c| c.terminating) == Some(true) {
                continue;
            }
            for address in endpoint.addresses.iter().filter_map(|a| may(a)) {
                add(SocketAddr::new(address, port), ready, endpoint.zone.as_ref());
            }
        }
    }
    if service.spec.external.is_some() {
        let told = service.status.iter().flat_map(|s| &s.endpoints);
        for endpoint in told.filter(|e| e.interface.as_deref() == Some(interface.name.as_str())) {
            if let Some(address) = may(&endpoint.address) {
                add(SocketAddr::new(address, interface.port), false, endpoint.zone.as_ref());
            }
        }
    }
    found.into_iter().map(|(endpoint, (ready, zone))| Known { endpoint, zone, ready }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn service(spec: Value, told: Value) -> MedicalService {
        let object = json!({
            "apiVersion": "medley.health/v1alpha1", "kind": "MedicalService", "metadata": {"name": "archive"},
            "spec": spec, "status": {"endpoints": told},
        });
        serde_json::from_value(object).unwrap()
    }

    fn slice(port: &str, number: i32, endpoints: Value) -> EndpointSlice {
        let ports = json!([{"name": port, "port": number}]);
        serde_json::from_value(json!({"addressType": "IPv4", "endpoints": endpoints, "ports": ports})).unwrap()
    }

    fn shown(found: &[Known]) -> Vec<String> {
        let zone = |k: &Known| k.zone.clone().unwrap_or_default();
        found.iter().map(|k| format!("{} {} {}", k.endpoint, zone(k), k.ready)).collect()
    }

    fn interface() -> Value {
        json!([{"name": "http", "port": 80, "protocol": "HTTP"}, {"name": "dicom", "port": 104, "protocol": "DICOM"}])
    }

    #[test]
    fn pods_are_known_by_their_slices_with_the_port_that_they_listen_on() {
        let service = service(json!({"select": {"matchLabels": {"app": "a"}}, "interfaces": interface()}), json!([]));
        let endpoint = |address: &str, conditions: Value, zone: &str| json!({"addresses": [address], "conditions": conditions, "zone": zone});
        let slices = [
            slice(
                "http",
                8080,
                json!([
                    endpoint("10.0.0.1", json!({}), "b"),
                    endpoint("10.0.0.2", json!({"ready": false}), "a"),
                    endpoint("10.0.0.3", json!({"ready": false, "terminating": true}), "a"),
                    endpoint("169.254.169.254", json!({"ready": true}), "a"),
                ]),
            ),
            slice("http", 8080, json!([endpoint("10.0.0.2", json!({"ready": true}), "c")])),
            slice("dicom", 104, json!([endpoint("10.0.0.9", json!({"ready": true}), "a")])),
        ];
        let guard = AddressGuard::default();
        let found = endpoints(&service, &service.spec.interfaces[0], &slices, &guard);
        assert_eq!(shown(&found), ["10.0.0.1:8080 b true", "10.0.0.2:8080 c true"]);
        let turned = endpoints(&service, &service.spec.interfaces[0], slices.iter().rev(), &guard);
        assert_eq!(turned, found);
    }

    #[test]
    fn hosts_outside_the_cluster_that_no_slice_holds_are_not_ready_whatever_the_status_says() {
        let told = |address: &str, interface: &str, ready: bool, reason: &str| json!({"address": address, "interface": interface, "ready": ready, "reason": reason, "since": "2026-01-01T00:00:00Z"});
        let spec = json!({"external": {"endpoints": [{"host": "pacs.example"}]}, "interfaces": interface()});
        let service = service(
            spec,
            json!([
                told("192.0.2.1", "http", true, "Healthy"),
                told("192.0.2.2", "http", false, "TcpRefused"),
                told("192.0.2.3", "http", true, "Healthy"),
                told("192.0.2.4", "dicom", false, "TcpRefused"),
                told("127.0.0.1", "http", false, "AddressRefused"),
                {"address": "pacs.example", "ready": false, "reason": "DnsFailed", "since": "2026-01-01T00:00:00Z"},
            ]),
        );
        let slices = [slice("http", 80, json!([{"addresses": ["192.0.2.1"], "conditions": {"ready": true}}]))];
        let found = endpoints(&service, &service.spec.interfaces[0], &slices, &AddressGuard::default());
        assert_eq!(shown(&found), ["192.0.2.1:80  true", "192.0.2.2:80  false", "192.0.2.3:80  false"]);
    }
}
