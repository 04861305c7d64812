//! Does a real HL7 server (`tests/peers/hl7/server.py`) answer what probes ask?

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::Duration,
};

use medley::{
    api::medical_service::EndpointReason,
    core::{
        discovery::target::{Endpoint, ProbeKind, ProbeTarget},
        hl7::probe_message::Receiver,
        monitoring::health::{ProbeOutcome, Thresholds},
    },
    medical::probe::probe,
};

/// The server; ended with the test.
struct Peer {
    child: Child,
    port: u16,
}

impl Peer {
    fn start() -> Self {
        let python = std::env::var("MEDLEY_HL7_PYTHON").expect("MEDLEY_HL7_PYTHON: run `make test-peers`");
        let mut child = Command::new(python)
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/hl7/server.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        // ends when the server has its port, or with the server
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().parse().expect("the server says its port");
        Self { child, port }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

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
    let peer = Peer::start();
    let receiver = Receiver { application: "LAB".to_owned(), facility: "NORTH".to_owned() };
    for _ in 0..3 {
        let found = probe(&target(peer.port, ProbeKind::Hl7(receiver.clone()))).await;
        assert_eq!(
            found,
            ProbeOutcome::Answered,
            "it refuses network management, and so it reads and answers messages"
        );
    }
    let other = ProbeKind::Http { path: "/".to_owned(), host: "lab".to_owned() };
    let found = probe(&ProbeTarget { timeout: Duration::from_secs(1), ..target(peer.port, other) }).await;
    assert!(matches!(found, ProbeOutcome::Failed(_)), "{found:?}");
    let found = probe(&target(peer.port, ProbeKind::Hl7(Receiver::default()))).await;
    assert_ne!(found, ProbeOutcome::Failed(EndpointReason::AckInvalid), "what is no message does not end it");
}
