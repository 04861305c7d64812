//! Hosts outside the cluster: which of their addresses are probed and published, and what is said of them?

use super::*;
use crate::core::{
    dicom::{Titles, contexts::Proposal},
    hl7::probe_message::Receiver,
};

#[test]
fn an_external_host_is_published_when_its_probe_answers_and_taken_out_when_it_fails() {
    let mut story = story(external(&["192.0.2.1"]));
    let first = story.pass();
    assert_eq!(kinds(&first), [OwnedKind::Service, OwnedKind::EndpointSlice]);
    assert_eq!((first.probes.len(), &first.probes[0].target.kind), (1, &ProbeKind::Tcp));
    assert_eq!((story.says("Reachable"), story.published().len()), ("Unknown NotProbed".into(), 0));
    story.probed("192.0.2.1", ProbeOutcome::Answered, 1);
    story.pass();
    assert_eq!(
        (story.says("Ready"), story.says("Reachable")),
        ("True Programmed".into(), "True EndpointsReady".into())
    );
    assert_eq!(story.published(), ["192.0.2.1"]);
    story.probed("192.0.2.1", ProbeOutcome::Failed(EndpointReason::TcpRefused), 2);
    assert_eq!(story.pass().status, None, "two of three failures change nothing");
    story.probed("192.0.2.1", ProbeOutcome::Failed(EndpointReason::TcpRefused), 1);
    let out = story.pass();
    assert_eq!((story.says("Ready"), story.says("Reachable")), ("True Programmed".into(), "False TcpRefused".into()));
    assert!(story.published().is_empty());
    let notes: Vec<_> = out.notes.iter().map(|n| n.reason).collect();
    assert_eq!(notes, ["Unreachable", "EndpointUnhealthy"]);
    assert!(out.notes[1].message.contains("dicom at 192.0.2.1 was taken out: TcpRefused"), "{:?}", out.notes);
}

#[test]
fn a_name_is_looked_up_and_its_addresses_stay_while_lookups_fail() {
    let mut story = story(external(&["pacs.example"]));
    assert_eq!(story.pass().hosts.into_iter().collect::<Vec<_>>(), ["pacs.example"]);
    let waiting = &story.status().endpoints[0];
    assert_eq!((waiting.address.as_str(), waiting.reason), ("pacs.example", EndpointReason::NotProbed));
    story.resolved("pacs.example", &[], Some(LookupFailure::NotFound));
    story.pass();
    assert_eq!(story.says("Reachable"), "False DnsFailed");
    assert!(
        story
            .condition("Reachable")
            .unwrap()
            .message
            .contains("the lookup of pacs.example fails: the name does not exist")
    );
    story.resolved("pacs.example", &["198.51.100.2", "198.51.100.1"], None);
    story.probed("198.51.100.1", ProbeOutcome::Answered, 1);
    story.probed("198.51.100.2", ProbeOutcome::Answered, 1);
    story.pass();
    assert_eq!(story.published(), ["198.51.100.1", "198.51.100.2"]);
    assert_eq!(story.status().endpoints[0].host.as_deref(), Some("pacs.example"));
    // a new leader knows nothing, then only that lookups fail
    story.lookups.clear();
    story.health.clear();
    assert_eq!(story.pass().status, None);
    story.resolved("pacs.example", &[], Some(LookupFailure::Timeout));
    story.pass();
    assert_eq!(story.published(), ["198.51.100.1", "198.51.100.2"]);
    assert!(story.condition("Reachable").unwrap().message.contains("its last known addresses are kept"));
    // the name moved
    story.resolved("pacs.example", &["198.51.100.2", "198.51.100.3"], None);
    story.pass();
    assert_eq!(story.published(), ["198.51.100.2"]);
    assert_eq!(story.status().endpoint_summary.as_deref(), Some("1/2"));
}

#[test]
fn another_port_is_another_endpoint() {
    let mut story = story(external(&["192.0.2.1"]));
    story.probed("192.0.2.1", ProbeOutcome::Answered, 1);
    story.pass();
    assert_eq!(story.published(), ["192.0.2.1"]);
    story.apply(json!({
        "external": { "endpoints": [{ "host": "192.0.2.1" }] },
        "interfaces": [{ "name": "dicom", "port": 11112, "protocol": "DICOM" }]
    }));
    story.pass();
    assert!(story.published().is_empty(), "nobody has seen the new port answer");
    story.probed("192.0.2.1", ProbeOutcome::Answered, 1);
    story.pass();
    assert_eq!(story.published(), ["192.0.2.1"]);
}

#[test]
fn each_interface_and_family_has_a_slice_and_http_probes_name_the_host() {
    let mut story = story(json!({
        "external": { "endpoints": [{ "host": "192.0.2.1", "zone": "north" }, { "host": "2001:db8::1" }, { "host": "ehr.example" }] },
        "interfaces": [
            { "name": "fhir", "port": 8080, "protocol": "FHIR", "fhir": { "basePath": "/r4" } },
            { "name": "web", "port": 80, "protocol": "HTTP", "http": { "healthPath": "/ok" } }
        ]
    }));
    story.resolved("ehr.example", &["198.51.100.1"], None);
    for address in ["192.0.2.1", "2001:db8::1", "198.51.100.1"] {
        story.probed(address, ProbeOutcome::Answered, 1);
    }
    let decision = story.pass();
    let slices: Vec<_> =
        decision.wanted.iter().filter(|w| w.kind() == OwnedKind::EndpointSlice).map(Wanted::name).collect();
    assert_eq!(slices, ["pacs-fhir-v4", "pacs-fhir-v6", "pacs-web-v4", "pacs-web-v6"]);
    let Wanted::EndpointSlice(v4) = &decision.wanted[1] else { panic!("slices follow the Service") };
    let zones: Vec<_> = endpoint_slice::ready_addresses(v4).map(|(a, z)| (a.to_string(), z)).collect();
    assert_eq!(zones, [("192.0.2.1".to_owned(), Some("north")), ("198.51.100.1".to_owned(), None)]);
    let asked: Vec<_> = decision
        .probes
        .iter()
        .map(|p| match &p.target.kind {
            ProbeKind::Http { path, host } | ProbeKind::Fhir { path, host, .. } => format!("{host} {path}"),
            other => format!("{other:?}"),
        })
        .collect();
    assert_eq!(
        asked,
        [
            "192.0.2.1:8080 /r4/metadata",
            "192.0.2.1 /ok",
            "ehr.example:8080 /r4/metadata",
            "ehr.example /ok",
            "[2001:db8::1]:8080 /r4/metadata",
            "[2001:db8::1] /ok"
        ]
    );
}

#[test]
fn an_interface_of_hl7_is_sent_a_message_where_the_probe_is_to_look_so_deep() {
    let mut story = story(json!({
        "external": { "endpoints": [{ "host": "192.0.2.1" }] },
        "interfaces": [
            { "name": "adt", "port": 2575, "protocol": "HL7v2", "probe": { "level": "Protocol" },
              "hl7v2": { "receivingApplication": "LAB", "receivingFacility": "NORTH" } },
            { "name": "oru", "port": 2576, "protocol": "HL7v2" }
        ]
    }));
    let kinds: Vec<ProbeKind> = story.pass().probes.into_iter().map(|p| p.target.kind).collect();
    let receiver = Receiver { application: "LAB".to_owned(), facility: "NORTH".to_owned() };
    assert_eq!(kinds, [ProbeKind::Hl7(receiver), ProbeKind::Tcp]);
    story.probed("192.0.2.1", ProbeOutcome::Failed(EndpointReason::AckInvalid), 3);
    story.pass();
    assert_eq!(story.says("Reachable"), "False AckInvalid");
}

#[test]
fn an_interface_of_dicom_is_sent_an_echo_where_it_is_known_whom_it_is_for() {
    let mut story = story(json!({
        "external": { "endpoints": [{ "host": "192.0.2.1" }] },
        "interfaces": [
            { "name": "a", "port": 104, "protocol": "DICOM", "dicom": { "calledAeTitle": "ARCHIVE", "callingAeTitle": "WARD" } },
            { "name": "b", "port": 105, "protocol": "DICOM", "dicom": { "calledAeTitle": "ARCHIVE" },
              "probe": { "level": "Transport" } },
            { "name": "c", "port": 106, "protocol": "DICOM" }
        ]
    }));
    let kinds: Vec<ProbeKind> = story.pass().probes.into_iter().map(|p| p.target.kind).collect();
    let titles = Titles { called: "ARCHIVE".to_owned(), calling: "WARD".to_owned() };
    assert_eq!(kinds, [ProbeKind::Dicom { titles, proposal: Proposal::default() }, ProbeKind::Tcp, ProbeKind::Tcp]);
    for (reason, word) in [
        (EndpointReason::AssociationTimeout, "AssociationTimeout"),
        (EndpointReason::DicomInvalid, "DicomInvalid"),
        (EndpointReason::DicomJsonInvalid, "DicomJsonInvalid"),
        (EndpointReason::AssociationRejected, "AssociationRejected"),
        (EndpointReason::AeTitleRejected, "AeTitleRejected"),
        (EndpointReason::Overloaded, "Overloaded"),
        (EndpointReason::AssociationAborted, "AssociationAborted"),
        (EndpointReason::PresentationContextRefused, "PresentationContextRefused"),
        (EndpointReason::EchoFailed, "EchoFailed"),
    ] {
        story.probed("192.0.2.1", ProbeOutcome::Failed(reason), 3);
        story.pass();
        assert_eq!(story.says("Reachable"), format!("False {word}"));
        assert_eq!(serde_json::to_value(reason).unwrap(), word);
    }
}

#[test]
fn a_grpc_server_is_asked_for_its_health_and_shown_a_certificate_of_the_services_own_namespace() {
    let mut story = story(json!({
        "external": { "endpoints": [{ "host": "192.0.2.1" }] },
        "interfaces": [
            { "name": "a", "port": 443, "protocol": "GRPC", "grpc": { "service": "triage.v1" },
              "tls": { "caBundle": "-----BEGIN CERTIFICATE-----", "clientCertificate": "infer" } },
            { "name": "b", "port": 81, "protocol": "GRPC", "probe": { "level": "Protocol" } },
            { "name": "c", "port": 82, "protocol": "GRPC" }
        ]
    }));
    let probes = story.pass().probes;
    let kinds: Vec<ProbeKind> = probes.iter().map(|p| p.target.kind.clone()).collect();
    let grpc = |service: &str, host: &str| ProbeKind::Grpc { service: service.to_owned(), host: host.to_owned() };
    assert_eq!(kinds, [grpc("triage.v1", "192.0.2.1"), grpc("", "192.0.2.1:81"), ProbeKind::Tcp]);
    let client = probes[0].target.tls.as_ref().and_then(|tls| tls.client.as_ref()).unwrap();
    assert_eq!((client.namespace.as_str(), client.name.as_str()), ("radiology", "infer"));
    for (reason, word) in [
        (EndpointReason::ClientCertificateMissing, "ClientCertificateMissing"),
        (EndpointReason::ClientCertificateExpired, "ClientCertificateExpired"),
        (EndpointReason::ClientCertificateRefused, "ClientCertificateRefused"),
        (EndpointReason::GrpcInvalid, "GrpcInvalid"),
        (EndpointReason::GrpcStatus, "GrpcStatus"),
        (EndpointReason::HealthUnimplemented, "HealthUnimplemented"),
        (EndpointReason::NotServing, "NotServing"),
        (EndpointReason::ServiceUnknown, "ServiceUnknown"),
    ] {
        story.probed("192.0.2.1", ProbeOutcome::Failed(reason), 3);
        story.pass();
        assert_eq!(story.says("Reachable"), format!("False {word}"));
        assert_eq!(serde_json::to_value(reason).unwrap(), word);
    }
}

#[test]
fn more_addresses_than_a_slice_holds_are_left_out_aloud() {
    let mut story = story(external(&["big.example"]));
    let all: Vec<String> = (0..120).map(|n| format!("198.51.100.{n}")).collect();
    story.resolved("big.example", &all.iter().map(String::as_str).collect::<Vec<_>>(), None);
    let decision = story.pass();
    assert_eq!(decision.probes.len(), 100);
    assert!(story.condition("Reachable").unwrap().message.contains("20 addresses beyond the first 100 are left out"));
}

#[test]
fn the_most_common_failure_is_the_reason_and_of_equals_the_lowest_layer() {
    let mut story = story(external(&["192.0.2.1", "192.0.2.2", "192.0.2.3"]));
    story.probed("192.0.2.1", ProbeOutcome::Failed(EndpointReason::HttpStatus), 1);
    story.probed("192.0.2.2", ProbeOutcome::Failed(EndpointReason::TcpTimeout), 1);
    story.pass();
    assert_eq!(story.says("Reachable"), "False NotProbed", "one each: nobody knows enough");
    story.probed("192.0.2.3", ProbeOutcome::Failed(EndpointReason::HttpStatus), 1);
    story.pass();
    assert_eq!(story.says("Reachable"), "False HttpStatus");
    assert!(story.condition("Reachable").unwrap().message.contains("1 TcpTimeout, 2 HttpStatus"));
}
