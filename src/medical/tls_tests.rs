use std::time::Duration;

use harness::certificates::{Authority, Certified};
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::{
    api::{ErrorClass, Urgency},
    core::{
        coordination::{
            outcome::CallResult,
            view::{Attempt, HttpRequest, LaneKey, StartCall, TlsView, Wire},
        },
        discovery::{
            guard::AddressGuard,
            target::{Endpoint, ProbeKind, ProbeTarget, Probed},
        },
        hl7::mllp::frame,
        monitoring::health::{ProbeOutcome, Thresholds},
    },
    medical::{
        calls::{CallIo, Network},
        probe::probe,
    },
};

/// A server on loopback that shows this certificate. It answers a request of HTTP, and acknowledges an HL7 message.
async fn server(shown: Certified) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(shown.key));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![CertificateDer::from(shown.certificate)], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // a client that does not trust it hangs up
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut said = Vec::new();
                while !said.ends_with(b"\r\n\r\n") && !said.ends_with(b"\x1c\r") {
                    let Ok(byte) = stream.read_u8().await else { return };
                    said.push(byte);
                }
                let said = String::from_utf8(said).unwrap();
                let answer = match said.split('|').nth(9) {
                    Some(id) => frame(format!("MSH|^~\\&|C\rMSA|AA|{id}\r").as_bytes()),
                    None => {
                        assert!(said.to_ascii_lowercase().contains("\r\nhost: "), "{said}");
                        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec()
                    }
                };
                let _ = stream.write_all(&answer).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    address
}

async fn probed(address: SocketAddr, tls: Option<TlsTarget>, kind: ProbeKind) -> Probed {
    let target = ProbeTarget {
        endpoint: Endpoint { address: address.ip(), port: address.port(), interface: "web".to_owned(), pod: None },
        kind,
        tls,
        interval: Duration::from_secs(10),
        timeout: Duration::from_millis(1500),
        thresholds: Thresholds { failures: 3, successes: 1 },
    };
    probe(&target, &Trust::default()).await
}

fn target(name: &str, ca_bundle: &str) -> Option<TlsTarget> {
    Some(TlsTarget { name: name.to_owned(), ca_bundle: ca_bundle.into(), client: None })
}

#[tokio::test]
async fn each_fault_of_tls_ends_in_its_reason() {
    use EndpointReason as E;
    let (ours, other) = (Authority::new().unwrap(), Authority::new().unwrap());
    let good = server(ours.issue(&["pacs.example", "127.0.0.1"], 2020, 2120).unwrap()).await;
    let old = server(ours.issue(&["pacs.example"], 2019, 2020).unwrap()).await;
    let early = server(ours.issue(&["pacs.example"], 2119, 2120).unwrap()).await;
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = plain.local_addr().unwrap();
    let wrong = "-----BEGIN CERTIFICATE-----\nno base64\n-----END CERTIFICATE-----\n";
    let both = format!("{}{}", other.pem(), ours.pem());
    let cases = [
        ("as registered", good, target("pacs.example", ours.pem()), Ok(())),
        ("one of two authorities", good, target("pacs.example", &both), Ok(())),
        ("by its address", good, target("127.0.0.1", ours.pem()), Ok(())),
        ("another name", good, target("ris.example", ours.pem()), Err(E::CertificateNameMismatch)),
        ("no name", good, target("", ours.pem()), Err(E::CertificateNameMismatch)),
        ("another authority", good, target("pacs.example", other.pem()), Err(E::CertificateUntrusted)),
        ("no authority that can be read", good, target("pacs.example", wrong), Err(E::CertificateUntrusted)),
        ("expired", old, target("pacs.example", ours.pem()), Err(E::CertificateExpired)),
        ("not valid yet", early, target("pacs.example", ours.pem()), Err(E::CertificateExpired)),
        ("silence", silent, target("pacs.example", ours.pem()), Err(E::TlsFailed)),
    ];
    for (what, address, tls, expected) in cases {
        let found = probed(address, tls, ProbeKind::Tcp).await;
        let outcome = expected.map_or_else(ProbeOutcome::Failed, |()| ProbeOutcome::Answered);
        assert_eq!(found.outcome, outcome, "{what}");
        let until = expected.ok().map(|()| "2120-01-01T00:00:00Z".parse().unwrap());
        assert_eq!(found.certificate_expires, until, "{what}");
    }
    let http = ProbeKind::Http { path: "/".to_owned(), host: "pacs.example".to_owned() };
    assert_eq!(probed(good, target("pacs.example", ours.pem()), http.clone()).await.outcome, ProbeOutcome::Answered);
    let bare = probed(good, None, http).await.outcome;
    assert!(matches!(bare, ProbeOutcome::Failed(E::HttpInvalid | E::TcpFailed)), "TLS is wanted: {bare:?}");
}

#[tokio::test]
async fn steps_speak_tls_with_whom_they_mean() {
    let ours = Authority::new().unwrap();
    let server = server(ours.issue(&["pacs.example"], 2020, 2120).unwrap()).await;
    let loopback = AddressGuard::new(vec!["127.0.0.0/8".parse().unwrap()], Vec::new(), Vec::new());
    let network = Network::new(Arc::new(loopback), Arc::default()).unwrap();
    let call = async |wire: Wire, name: &str| {
        let tls = TlsView { ca_bundle: ours.pem().into(), name: name.to_owned(), ..TlsView::default() };
        let call = StartCall {
            attempt: Attempt { step: "a".to_owned(), index: None, number: 1 },
            lane: LaneKey::default(),
            urgency: Urgency::Routine,
            turn: None,
            endpoint: server,
            tls: Some(tls),
            wire,
            idempotency_key: "k".to_owned(),
            timeout: Duration::from_secs(5),
        };
        network.call(&call).await
    };
    let http = || {
        Wire::Http(HttpRequest {
            host: "pacs.n.svc".to_owned(),
            method: "GET",
            path: "/".to_owned(),
            headers: Vec::new(),
            body: None,
        })
    };
    let hl7 = || Wire::Hl7v2("MSH|^~\\&|A|B|C|D|||ADT^A08||P|2.5\r".to_owned());
    for _ in 0..2 {
        let answered = call(http(), "pacs.example").await;
        assert!(matches!(&answered, CallResult::Answered(a) if a.status == 200), "{answered:?}");
        let acknowledged = call(hl7(), "pacs.example").await;
        assert!(matches!(acknowledged, CallResult::Acknowledged(_)), "{acknowledged:?}");
    }
    for wire in [http(), hl7()] {
        let refused = call(wire.clone(), "ris.example").await;
        let CallResult::Failed { class: ErrorClass::Configuration, sent: false, message } = refused else {
            panic!("{wire:?}: {refused:?}")
        };
        assert!(message.contains("is for another name"), "{message}");
    }
}

#[tokio::test]
async fn what_is_kept_ready_is_bounded() {
    let trust = Trust::default();
    let ours = Authority::new().unwrap();
    for n in 0..MAX_KEPT * 2 {
        let target = target("pacs.example", &format!("{}# {n}\n", ours.pem())).unwrap();
        trust.config(&target).await.unwrap();
    }
    assert!(trust.kept.lock().unwrap().len() <= MAX_KEPT);
}
