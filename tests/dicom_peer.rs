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
        dicom::Titles,
        discovery::{
            guard::AddressGuard,
            target::{Endpoint, ProbeKind, ProbeTarget},
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
    let target = ProbeTarget {
        endpoint: Endpoint { address: address.ip(), port: address.port(), interface: "dicom".to_owned(), pod: None },
        kind: ProbeKind::Dicom(titles(called)),
        tls: None,
        interval: Duration::from_secs(10),
        timeout,
        thresholds: Thresholds { failures: 3, successes: 1 },
    };
    probe(&target, &Trust::default()).await.outcome
}

/// A step's echo that waits so long at most.
async fn called(address: SocketAddr, called: &str, timeout: Duration) -> CallResult {
    let loopback = AddressGuard::new(vec!["127.0.0.0/8".parse().unwrap()], Vec::new(), Vec::new());
    let call = StartCall {
        attempt: Attempt { step: "echo".to_owned(), index: None, number: 1 },
        lane: LaneKey::default(),
        urgency: Urgency::Routine,
        turn: None,
        endpoint: address,
        tls: None,
        wire: Wire::Echo(titles(called)),
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
