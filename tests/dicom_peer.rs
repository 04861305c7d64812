//! What do probes and steps make of real DICOM services: an archive (Orthanc), dcmtk's `storescp`, and pynetdicom, which does
//! wrong what it is told to (`tests/peers/dicom/server.py`)?
//!
//! Orthanc and `storescp` listen on all addresses and cannot be told otherwise, so `make test-peers` runs these tests in a network
//! namespace of their own, which has loopback alone.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

#[path = "dicom_peer/programs.rs"]
mod programs;
#[path = "peers/python.rs"]
mod python;
#[path = "dicom_peer/queries.rs"]
mod queries;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use medley::{
    api::{
        Urgency,
        medical_service::{EndpointReason, EndpointReason as R},
        vocabulary::ErrorClass,
    },
    core::{
        coordination::{
            outcome::CallResult,
            view::{Attempt, LaneKey, StartCall, Wire},
        },
        dicom::{Titles, contexts::Proposal},
        discovery::{
            capability::Facts,
            defaults,
            guard::AddressGuard,
            target::{Endpoint, ProbeKind, ProbeTarget, Probed},
        },
        monitoring::health::{ProbeOutcome, Thresholds},
    },
    medical::{
        calls::{CallIo, Network},
        probe::probe,
        tls::Trust,
    },
};
use programs::{Orthanc, Storescp};
use python::Peer;

fn titles(called: &str) -> Titles {
    Titles { called: called.to_owned(), calling: "MEDLEY".to_owned() }
}

/// A probe that waits so long at most.
async fn probed(address: SocketAddr, called: &str, timeout: Duration) -> ProbeOutcome {
    negotiated(address, called, Proposal::default(), timeout).await.outcome
}

/// A probe that proposes this besides.
async fn negotiated(address: SocketAddr, called: &str, proposal: Proposal, timeout: Duration) -> Probed {
    outcome(address, ProbeKind::Dicom { titles: titles(called), proposal }, timeout).await
}

async fn outcome(address: SocketAddr, kind: ProbeKind, timeout: Duration) -> Probed {
    let target = ProbeTarget {
        endpoint: Endpoint { address: address.ip(), port: address.port(), interface: "dicom".to_owned(), pod: None },
        kind,
        tls: None,
        interval: Duration::from_secs(10),
        timeout,
        thresholds: Thresholds { failures: 3, successes: 1 },
    };
    probe(&target, &Trust::default()).await
}

/// A step's echo that waits so long at most.
async fn called(address: SocketAddr, called: &str, timeout: Duration) -> CallResult {
    call(address, Wire::Echo(titles(called)), timeout).await
}

async fn call(address: SocketAddr, wire: Wire, timeout: Duration) -> CallResult {
    let loopback = AddressGuard::new(vec!["127.0.0.0/8".parse().unwrap()], Vec::new(), Vec::new());
    let call = StartCall {
        attempt: Attempt { step: "ask".to_owned(), index: None, number: 1 },
        lane: LaneKey::default(),
        urgency: Urgency::Routine,
        turn: None,
        endpoint: address,
        tls: None,
        wire,
        idempotency_key: "k".to_owned(),
        timeout,
    };
    Network::new(Arc::new(loopback), Arc::default()).unwrap().call(&call).await
}

/// What a step is to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sees {
    Status(u16),
    Class(ErrorClass),
}

/// A probe and a step say the same of a service, each in its words. Real services have long to answer, but not those that never do.
async fn says(address: SocketAddr, name: &str, reason: Option<EndpointReason>, sees: Sees) {
    let silent = reason == Some(R::AssociationTimeout);
    let timeout = if silent { Duration::from_millis(500) } else { Duration::from_secs(20) };
    let outcome = reason.map_or(ProbeOutcome::Answered, ProbeOutcome::Failed);
    assert_eq!(probed(address, name, timeout).await, outcome, "{name}");
    let found = match called(address, name, timeout).await {
        CallResult::Echoed { status } => Sees::Status(status),
        CallResult::Failed { class, .. } => Sees::Class(class),
        other => panic!("{other:?}"),
    };
    assert_eq!(found, sees, "{name}");
}

/// Each fault by the title that causes it at `tests/peers/dicom/server.py`, what a probe says of it, and what a step sees.
const FAULTS: [(&str, EndpointReason, Sees); 14] = [
    ("BUSY", R::Overloaded, Sees::Class(ErrorClass::Overloaded)),
    ("CONGESTED", R::Overloaded, Sees::Class(ErrorClass::Overloaded)),
    ("STRANGER", R::AeTitleRejected, Sees::Class(ErrorClass::Configuration)),
    ("UNKNOWN", R::AeTitleRejected, Sees::Class(ErrorClass::Configuration)),
    ("CONTEXT-NAME", R::AssociationRejected, Sees::Class(ErrorClass::Rejected)),
    ("VERSION", R::AssociationRejected, Sees::Class(ErrorClass::Rejected)),
    ("NO-CONTEXT", R::PresentationContextRefused, Sees::Class(ErrorClass::Configuration)),
    ("ABORTS", R::AssociationAborted, Sees::Class(ErrorClass::Connection)),
    ("ABORTS-LATER", R::AssociationAborted, Sees::Class(ErrorClass::Connection)),
    ("HANGS-UP", R::AssociationAborted, Sees::Class(ErrorClass::Connection)),
    ("SILENT", R::AssociationTimeout, Sees::Class(ErrorClass::Timeout)),
    ("SILENT-LATER", R::AssociationTimeout, Sees::Class(ErrorClass::Timeout)),
    ("NO-CLASS", R::EchoFailed, Sees::Status(0x0122)),
    ("DUPLICATE", R::EchoFailed, Sees::Status(0x0210)),
];

#[tokio::test]
#[ignore = "needs a service from PyPI: make test-peers"]
async fn each_fault_of_a_scripted_service_has_its_reason() {
    let peer = Peer::start("MEDLEY_DICOM_PYTHON", "dicom/server.py");
    says(peer.address, "WELL", None, Sees::Status(0)).await;
    for (name, reason, sees) in FAULTS {
        says(peer.address, name, Some(reason), sees).await;
    }
    says(peer.address, "WELL", None, Sees::Status(0)).await;
}

#[tokio::test]
#[ignore = "needs Orthanc: make test-peers"]
async fn an_archive_answers_who_knows_its_title() {
    let orthanc = Orthanc::start("ARCHIVE").await;
    says(orthanc.dicom, "ARCHIVE", None, Sees::Status(0)).await;
    says(orthanc.dicom, "STRANGE", Some(R::AeTitleRejected), Sees::Class(ErrorClass::Configuration)).await;
    says(orthanc.http, "ARCHIVE", Some(R::DicomInvalid), Sees::Class(ErrorClass::InvalidResult)).await;
    for _ in 0..20 {
        says(orthanc.dicom, "ARCHIVE", None, Sees::Status(0)).await;
    }
    // a release that is not awaited would be told of here
    let log = orthanc.log();
    assert!(log.iter().any(|line| line.contains("bad called AET")), "{log:?}");
    let complaints: Vec<&String> =
        log.iter().filter(|l| l.starts_with('E') || l.to_lowercase().contains("abort")).collect();
    assert!(complaints.is_empty(), "{complaints:?}");
}

/// What a probe says of a DICOMweb server with this base path.
async fn searched(address: SocketAddr, base: &str) -> ProbeOutcome {
    let web = serde_json::json!({"name": "web", "port": 80, "protocol": "DICOMweb", "http": {"basePath": base}});
    let path = defaults::probe_path(&serde_json::from_value(web).unwrap()).unwrap();
    let kind = ProbeKind::DicomWeb { path, host: address.to_string() };
    outcome(address, kind, Duration::from_secs(20)).await.outcome
}

#[tokio::test]
#[ignore = "needs Orthanc with DICOMweb: make test-peers"]
async fn a_server_of_dicomweb_searches() {
    let orthanc = Orthanc::with("ARCHIVE", &["/usr/share/orthanc/plugins/libOrthancDicomWeb.so"]).await;
    orthanc.store_studies("ARCHIVE");
    assert_eq!(searched(orthanc.http, "/dicom-web").await, ProbeOutcome::Answered);
    // its REST interface answers a search under another path in another form, and its pages for people are none
    for (base, reason) in [("/nowhere", R::HttpStatus), ("/app/explorer.html?", R::DicomJsonInvalid)] {
        assert_eq!(searched(orthanc.http, base).await, ProbeOutcome::Failed(reason), "{base}");
    }
    assert_eq!(searched(orthanc.dicom, "/dicom-web").await, ProbeOutcome::Failed(R::TcpFailed));
}

#[tokio::test]
#[ignore = "needs dcmtk: make test-peers"]
async fn a_storage_service_answers_and_refuses() {
    // it rejects who does not say its implementation
    let well = Storescp::start(&["--reject"]).await;
    says(well.address, "ANYBODY", None, Sees::Status(0)).await;
    let refuses = Storescp::start(&["--refuse"]).await;
    says(refuses.address, "ANYBODY", Some(R::AssociationRejected), Sees::Class(ErrorClass::Rejected)).await;
    // small PDUs cut the answer
    let small = Storescp::start(&["--max-pdu", "4096"]).await;
    says(small.address, "ANYBODY", None, Sees::Status(0)).await;
    let gone = small.address;
    drop(small);
    says(gone, "ANYBODY", Some(R::TcpRefused), Sees::Class(ErrorClass::Connection)).await;
}

/// CT and MR images, and the scheduled steps of a worklist.
const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
const MR: &str = "1.2.840.10008.5.1.4.1.1.4";
const WORKLIST: &str = "1.2.840.10008.5.1.4.31";
/// Explicit VR Little Endian, and JPEG 2000 without loss.
const EXPLICIT: &str = "1.2.840.10008.1.2.1";
const JPEG_2000: &str = "1.2.840.10008.1.2.4.90";

/// What a service accepts of this, class by class, and whether that is all.
async fn accepts(address: SocketAddr, called: &str, classes: &[&str], syntaxes: &[&str]) -> (Vec<String>, bool) {
    let set = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
    let proposal = Proposal { classes: set(classes), syntaxes: set(syntaxes) };
    let probed = negotiated(address, called, proposal, Duration::from_secs(20)).await;
    let Some(Facts::Dicom(contexts)) = probed.facts else { panic!("{probed:?}") };
    let told = contexts.accepted.iter().map(|(class, syntaxes)| {
        let syntaxes = syntaxes.iter().map(String::as_str).collect::<Vec<_>>();
        format!("{class} {}", syntaxes.join(" "))
    });
    let told = told.collect();
    match probed.outcome {
        ProbeOutcome::Answered => (told, true),
        ProbeOutcome::Failed(R::CapabilityMismatch) => (told, false),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
#[ignore = "needs Orthanc and dcmtk: make test-peers"]
async fn services_tell_what_they_take_by_what_they_accept() {
    let orthanc = Orthanc::start("ARCHIVE").await;
    let at = orthanc.dicom;
    let both = |class: &str| format!("{class} {EXPLICIT} {JPEG_2000}");
    let all = accepts(at, "ARCHIVE", &[CT, MR], &[EXPLICIT, JPEG_2000]).await;
    assert_eq!(all, (vec![both(CT), both(MR)], true));
    // no worklist, and of what is not proposed in syntaxes of its own one of the two usual ones
    let (told, fits) = accepts(at, "ARCHIVE", &[CT, WORKLIST], &[]).await;
    assert!(!fits && told.len() == 1 && told[0].starts_with(CT), "{told:?}");
    // all the room that an association has: that of the echo, and 127 besides
    let many: Vec<String> = (0..126).map(|n| format!("1.2.3.{n}")).collect();
    let many: Vec<&str> = std::iter::once(MR).chain(many.iter().map(String::as_str)).collect();
    assert_eq!(accepts(at, "ARCHIVE", &many, &[EXPLICIT]).await, (vec![format!("{MR} {EXPLICIT}")], false));

    let plain = Storescp::start(&[]).await;
    let (told, fits) = accepts(plain.address, "ANYBODY", &[CT, MR], &[EXPLICIT, JPEG_2000]).await;
    assert_eq!((told, fits), (vec![format!("{CT} {EXPLICIT}"), format!("{MR} {EXPLICIT}")], false));
    let compressed = Storescp::start(&["+xa"]).await;
    let all = accepts(compressed.address, "ANYBODY", &[CT, MR], &[EXPLICIT, JPEG_2000]).await;
    assert_eq!(all, (vec![both(CT), both(MR)], true));
}
