//! The Service that gives a `MedicalService` its name in cluster DNS.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Service, ServicePort, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::{Owner, QUERY_LABEL, SERVICE_LABEL};
use crate::{
    api::{Protocol, ServiceQuerySpec, interface::Interface},
    core::discovery::defaults,
};

/// A `ClusterIP` Service with a named port for each interface: an unnamed port has no SRV record. Without a selector nobody
/// but medley fills its `EndpointSlice`s.
#[must_use]
pub fn service(owner: &Owner, interfaces: &[Interface], selector: Option<&BTreeMap<String, String>>) -> Service {
    Service {
        metadata: owner.metadata(&owner.name, &[(SERVICE_LABEL, &owner.name)]),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".to_owned()),
            selector: selector.cloned(),
            ports: Some(interfaces.iter().map(port).collect()),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

/// The Service that gives the answer to a query its name in cluster DNS: one named port, no selector.
#[must_use]
pub fn of_query(owner: &Owner, spec: &ServiceQuerySpec) -> Service {
    Service {
        metadata: owner.metadata(&owner.name, &[(QUERY_LABEL, &owner.name)]),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".to_owned()),
            ports: Some(vec![ServicePort {
                name: Some(defaults::query_port(spec)),
                port: i32::from(spec.port),
                protocol: Some("TCP".to_owned()),
                // what slices say counts; without a word here the server writes this itself
                target_port: Some(IntOrString::Int(i32::from(spec.port))),
                app_protocol: spec.protocol.and_then(Protocol::app_protocol).map(str::to_owned),
                node_port: None,
            }]),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

fn port(interface: &Interface) -> ServicePort {
    ServicePort {
        name: Some(interface.name.clone()),
        port: i32::from(interface.port),
        protocol: Some("TCP".to_owned()),
        // a number: pods that somebody else deploys need not name their ports
        target_port: Some(IntOrString::Int(i32::from(defaults::target_port(interface)))),
        app_protocol: interface.app_protocol().map(str::to_owned),
        node_port: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::Protocol,
        render::deployment::tests::{interface, owner},
    };

    #[test]
    fn every_port_has_a_name_and_says_what_it_speaks() {
        let mut web = interface("web", 80, Protocol::Http);
        web.target_port = Some(8042);
        let service = service(&owner(), &[web, interface("dicom", 104, Protocol::Dicom)], None);
        let spec = service.spec.unwrap();
        let ports: Vec<_> = spec
            .ports
            .unwrap()
            .into_iter()
            .map(|p| (p.name.unwrap(), p.port, p.target_port.unwrap(), p.app_protocol))
            .collect();
        assert_eq!(
            ports,
            [
                ("web".to_owned(), 80, IntOrString::Int(8042), Some("http".to_owned())),
                ("dicom".to_owned(), 104, IntOrString::Int(104), None)
            ]
        );
        assert_eq!((spec.selector, spec.type_.as_deref()), (None, Some("ClusterIP")));
        assert_eq!(service.metadata.labels.unwrap()[SERVICE_LABEL], "reader");
    }
}
