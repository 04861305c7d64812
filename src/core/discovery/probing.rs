//! From an interface to a probe of one of its endpoints.

use std::net::IpAddr;

use super::{
    capability, defaults,
    target::{ClientName, Endpoint, ProbeKind, ProbeTarget, TlsTarget},
};
use crate::{
    api::{
        Protocol,
        interface::{Interface, ProbeLevel},
    },
    core::hl7::probe_message::Receiver,
};

/// How an endpoint is probed. `host`: the name that it was found by, or is known by; `namespace`: that of its service.
pub(super) fn target(endpoint: Endpoint, interface: &Interface, host: Option<&str>, namespace: &str) -> ProbeTarget {
    let how = defaults::probe(interface, defaults::Prober::Medley);
    let default_port = if interface.tls.is_some() { 443 } else { 80 };
    let kind = match (how.level, defaults::probe_path(interface)) {
        (ProbeLevel::Protocol, Some(path)) if interface.protocol == Protocol::Fhir => ProbeKind::Fhir {
            path,
            host: host_header(&endpoint, host, default_port),
            declared: interface.fhir.clone().unwrap_or_default(),
        },
        (ProbeLevel::Protocol, Some(path)) if interface.protocol == Protocol::DicomWeb => {
            ProbeKind::DicomWeb { path, host: host_header(&endpoint, host, default_port) }
        }
        (ProbeLevel::Protocol, Some(path)) => {
            ProbeKind::Http { path, host: host_header(&endpoint, host, default_port) }
        }
        (ProbeLevel::Protocol, None) if interface.protocol == Protocol::Hl7v2 => {
            let names = interface.hl7v2.clone().unwrap_or_default();
            ProbeKind::Hl7(Receiver {
                application: names.receiving_application.unwrap_or_default(),
                facility: names.receiving_facility.unwrap_or_default(),
            })
        }
        (ProbeLevel::Protocol, None) if interface.protocol == Protocol::Grpc => ProbeKind::Grpc {
            service: interface.grpc.clone().and_then(|grpc| grpc.service).unwrap_or_default(),
            host: host_header(&endpoint, host, default_port),
        },
        (ProbeLevel::Protocol, None) => interface.dicom.as_ref().map_or(ProbeKind::Tcp, |dicom| ProbeKind::Dicom {
            titles: defaults::titles(dicom, None),
            proposal: capability::proposal(dicom),
        }),
        (ProbeLevel::Transport, _) => ProbeKind::Tcp,
    };
    let tls = interface.tls.as_ref().map(|tls| {
        let registered = || host.map_or_else(|| endpoint.address.to_string(), str::to_owned);
        let named = |name: &String| ClientName { namespace: namespace.to_owned(), name: name.clone() };
        TlsTarget {
            name: tls.server_name.clone().unwrap_or_else(registered),
            ca_bundle: tls.ca_bundle.clone(),
            client: tls.client_certificate.as_ref().map(named),
        }
    });
    ProbeTarget {
        endpoint,
        kind,
        tls,
        interval: how.interval.duration(),
        timeout: how.timeout.duration(),
        thresholds: how.thresholds,
    }
}

/// RFC 9110 §7.2: the host as it is known, and the port unless it is the scheme's own.
fn host_header(endpoint: &Endpoint, host: Option<&str>, default_port: u16) -> String {
    let host = match (host, endpoint.address) {
        (Some(name), _) => name.to_owned(),
        (None, IpAddr::V4(address)) => address.to_string(),
        (None, IpAddr::V6(address)) => format!("[{address}]"),
    };
    if endpoint.port == default_port { host } else { format!("{host}:{}", endpoint.port) }
}
