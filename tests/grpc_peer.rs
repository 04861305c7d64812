//! Does a real gRPC server (`tests/peers/grpc`, grpcio from PyPI) answer what probes ask, in the clear and inside TLS?

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

#[path = "peers/python.rs"]
mod python;

use std::{fs, path::PathBuf, time::Duration};

use harness::certificates::Authority;
use medley::{
    api::medical_service::EndpointReason as E,
    core::{
        discovery::target::{ClientName, Endpoint, ProbeKind, ProbeTarget, TlsTarget},
        monitoring::health::{ProbeOutcome, Thresholds},
    },
    medical::{probe::probe, tls::Trust},
};
use python::Peer;

async fn found(port: u16, service: &str, tls: Option<TlsTarget>, trust: &Trust) -> Result<(), E> {
    let target = ProbeTarget {
        endpoint: Endpoint { address: [127, 0, 0, 1].into(), port, interface: "infer".to_owned(), pod: None },
        kind: ProbeKind::Grpc { service: service.to_owned(), host: format!("infer.example:{port}") },
        tls,
        interval: Duration::from_secs(10),
        timeout: Duration::from_secs(10),
        thresholds: Thresholds { failures: 3, successes: 1 },
    };
    match probe(&target, trust).await.outcome {
        ProbeOutcome::Answered => Ok(()),
        ProbeOutcome::Failed(reason) => Err(reason),
    }
}

#[tokio::test]
#[ignore = "needs a server from PyPI: make test-peers"]
async fn a_real_server_says_what_serves() {
    let trust = Trust::default();
    let peer = Peer::start("MEDLEY_GRPC_PYTHON", "grpc/server.py");
    for (service, expected) in
        [("", Ok(())), ("triage.v1", Ok(())), ("down.v1", Err(E::NotServing)), ("other.v1", Err(E::ServiceUnknown))]
    {
        assert_eq!(found(peer.address.port(), service, None, &trust).await, expected, "{service}");
    }
    let bare = Peer::start("MEDLEY_GRPC_PYTHON", "grpc/server.py bare");
    assert_eq!(found(bare.address.port(), "", None, &trust).await, Err(E::HealthUnimplemented));
    let port = peer.address.port();
    drop(peer);
    assert_eq!(found(port, "", None, &trust).await, Err(E::TcpRefused));
}

#[tokio::test]
#[ignore = "needs a server from PyPI: make test-peers"]
async fn a_real_server_is_asked_inside_tls_and_is_shown_who_asks() {
    let (ours, callers, others) = (Authority::new().unwrap(), Authority::new().unwrap(), Authority::new().unwrap());
    let folder: PathBuf = std::env::temp_dir().join(format!("medley-grpc-{}", std::process::id()));
    ours.issue(&["infer.example"], 2020, 2120).unwrap().write(&folder.join("server")).unwrap();
    callers.issue(&["medley"], 2020, 2120).unwrap().write(&folder.join("clients/triage/good")).unwrap();
    others.issue(&["medley"], 2020, 2120).unwrap().write(&folder.join("clients/triage/other")).unwrap();
    fs::write(folder.join("callers.crt"), callers.pem()).unwrap();
    let path = |name: &str| folder.join(name).display().to_string();
    let (certificate, key, authority) = (path("server/tls.crt"), path("server/tls.key"), path("callers.crt"));
    let trust = Trust::new(Some(folder.join("clients")));
    let target = |name: Option<&str>| {
        let client = name.map(|name| ClientName { namespace: "triage".to_owned(), name: name.to_owned() });
        Some(TlsTarget { name: "infer.example".to_owned(), ca_bundle: ours.pem().into(), client })
    };
    let open = Peer::start("MEDLEY_GRPC_PYTHON", &format!("grpc/server.py tls {certificate} {key}"));
    assert_eq!(found(open.address.port(), "triage.v1", target(None), &trust).await, Ok(()));
    let plain = found(open.address.port(), "triage.v1", None, &trust).await;
    assert!(matches!(plain, Err(E::GrpcInvalid | E::TcpFailed)), "TLS is wanted: {plain:?}");
    let closed = Peer::start("MEDLEY_GRPC_PYTHON", &format!("grpc/server.py tls {certificate} {key} {authority}"));
    assert_eq!(found(closed.address.port(), "triage.v1", target(Some("good")), &trust).await, Ok(()));
    assert_eq!(found(closed.address.port(), "down.v1", target(Some("good")), &trust).await, Err(E::NotServing));
    for (name, expected) in [(None, E::ClientCertificateMissing), (Some("other"), E::ClientCertificateRefused)] {
        // grpcio closes without a word
        let refused = found(closed.address.port(), "triage.v1", target(name), &trust).await;
        assert!(matches!(refused, Err(E::TcpFailed)) || refused == Err(expected), "{name:?}: {refused:?}");
    }
    fs::remove_dir_all(&folder).unwrap();
}
