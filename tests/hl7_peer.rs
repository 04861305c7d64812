//! Does a real HL7 server (`tests/peers/hl7/server.py`) answer what probes ask?

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

#[path = "peers/python.rs"]
mod python;

use std::time::Duration;

use medley::{
    api::medical_service::EndpointReason,
    core::{
        discovery::target::{Endpoint, ProbeKind, ProbeTarget},
        hl7::probe_message::Receiver,
        monitoring::health::{ProbeOutcome, Thresholds},
    },
    medical::probe::probe,
};
use python::Peer;

fn target(port: u16, kind: ProbeKind) -> ProbeTarget {
    ProbeTarget {
        endpoint: Endpoint { address: [127, 0, 0, 1].into(), port, interface: "adt".to_owned() },
        kind,
        interval: Duration::from_secs(10),
        timeout: Duration::from_secs(10),
        thresholds: Thresholds { failures: 3, successes: 1 },
    }
}

#[tokio::test]
#[ignore = "needs a server from PyPI: make test-peers"]
async fn a_probe_is_answered_and_the_server_goes_on() {
    let peer = Peer::start("MEDLEY_HL7_PYTHON", "hl7/server.py");
    let receiver = Receiver { application: "LAB".to_owned(), facility: "NORTH".to_owned() };
    for _ in 0..3 {
        let found = probe(&target(peer.address.port(), ProbeKind::Hl7(receiver.clone()))).await.outcome;
        assert_eq!(
            found,
            ProbeOutcome::Answered,
            "it refuses network management, and so it reads and answers messages"
        );
    }
    let other = ProbeKind::Http { path: "/".to_owned(), host: "lab".to_owned() };
    let found =
        probe(&ProbeTarget { timeout: Duration::from_secs(1), ..target(peer.address.port(), other) }).await.outcome;
    assert!(matches!(found, ProbeOutcome::Failed(_)), "{found:?}");
    let found = probe(&target(peer.address.port(), ProbeKind::Hl7(Receiver::default()))).await.outcome;
    assert_ne!(found, ProbeOutcome::Failed(EndpointReason::AckInvalid), "what is no message does not end it");
}
