//! Do real HL7 servers of two makes (`tests/peers/hl7`) answer what probes ask and steps send?

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

#[path = "peers/python.rs"]
mod python;

use std::{sync::Arc, time::Duration};

use medley::{
    api::{Urgency, medical_service::EndpointReason},
    core::{
        coordination::{
            outcome::CallResult,
            view::{Attempt, LaneKey, StartCall, Wire},
        },
        discovery::{
            guard::AddressGuard,
            target::{Endpoint, ProbeKind, ProbeTarget},
        },
        hl7::{ack::Code, outgoing, probe_message::Receiver},
        monitoring::health::{ProbeOutcome, Thresholds},
    },
    medical::{
        calls::{CallIo, Network},
        probe::probe,
        tls::Trust,
    },
};
use python::Peer;

fn target(port: u16, kind: ProbeKind) -> ProbeTarget {
    ProbeTarget {
        endpoint: Endpoint { address: [127, 0, 0, 1].into(), port, interface: "adt".to_owned(), pod: None },
        kind,
        tls: None,
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
        let found =
            probe(&target(peer.address.port(), ProbeKind::Hl7(receiver.clone())), &Trust::default()).await.outcome;
        assert_eq!(
            found,
            ProbeOutcome::Answered,
            "it refuses network management, and so it reads and answers messages"
        );
    }
    let other = ProbeKind::Http { path: "/".to_owned(), host: "lab".to_owned() };
    let found = probe(
        &ProbeTarget { timeout: Duration::from_secs(1), ..target(peer.address.port(), other) },
        &Trust::default(),
    )
    .await
    .outcome;
    assert!(matches!(found, ProbeOutcome::Failed(_)), "{found:?}");
    let found =
        probe(&target(peer.address.port(), ProbeKind::Hl7(Receiver::default())), &Trust::default()).await.outcome;
    assert_ne!(found, ProbeOutcome::Failed(EndpointReason::AckInvalid), "what is no message does not end it");
}

/// Sends a message of this type as a step does.
async fn send(peer: &Peer, kind: &str, key: &str) -> CallResult {
    let loopback = AddressGuard::new(vec!["127.0.0.0/8".parse().unwrap()], Vec::new(), Vec::new());
    let text = format!("MSH|^~\\&|MEDLEY|OPS|LAB|NORTH|||{kind}||P|2.5\nPID|||7\nOBR|1\nOBX|1|TX|x||caf\u{e9}");
    let call = StartCall {
        attempt: Attempt { step: "send".to_owned(), index: None, number: 1 },
        lane: LaneKey::default(),
        urgency: Urgency::Routine,
        turn: None,
        endpoint: peer.address,
        tls: None,
        wire: Wire::Hl7v2(outgoing::read(&text).unwrap()),
        idempotency_key: key.to_owned(),
        timeout: Duration::from_secs(10),
    };
    Network::new(Arc::new(loopback), Arc::default()).unwrap().call(&call).await
}

#[tokio::test]
#[ignore = "needs a server from PyPI: make test-peers"]
async fn a_step_is_told_what_became_of_its_message() {
    let acknowledged = |result: CallResult| match result {
        CallResult::Acknowledged(ack) => (ack.code, ack.error),
        other => panic!("{other:?}"),
    };
    let engine = Peer::start("MEDLEY_HL7_PYTHON", "hl7/server.py");
    assert_eq!(acknowledged(send(&engine, "ADT^A08^ADT_A01", "k1").await), (Code::Accepted, None));
    assert_eq!(acknowledged(send(&engine, "ORU^R01^ORU_R01", "k1").await), (Code::Rejected, None));
    let laboratory = Peer::start("MEDLEY_HL7_PYTHON", "hl7/hl7apy_server.py");
    assert_eq!(acknowledged(send(&laboratory, "ORU^R01^ORU_R01", "k2").await), (Code::Committed, None));
    assert_eq!(acknowledged(send(&laboratory, "ADT^A08^ADT_A01", "k3").await), (Code::Error, Some(207)));
    let found =
        probe(&target(laboratory.address.port(), ProbeKind::Hl7(Receiver::default())), &Trust::default()).await.outcome;
    assert_eq!(found, ProbeOutcome::Answered, "a server of another make answers a probe too");
}
