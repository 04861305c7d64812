//! Servers that want to know who calls.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicU32, Ordering},
};

use harness::certificates::Authority;
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::PrivatePkcs8KeyDer,
    server::WebPkiClientVerifier,
    version::{TLS12, TLS13},
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
            target::{Endpoint, ProbeKind, ProbeTarget, TlsTarget},
        },
        hl7::{mllp::frame, probe_message::Receiver},
        monitoring::health::{ProbeOutcome, Thresholds},
    },
    medical::{
        calls::{CallIo, Network},
        probe::probe,
        tls::Trust,
    },
};

const VERSIONS: [&rustls::SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// A folder that goes with its test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(std::env::temp_dir().join(format!("medley-identity-{}-{next}", std::process::id())))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A server on loopback that lets nobody in but whom `callers` has certified. It answers HTTP and acknowledges HL7 messages; how
/// many requests came to it is counted.
async fn server(
    ours: &Authority,
    callers: &Authority,
    version: &'static rustls::SupportedProtocolVersion,
) -> (SocketAddr, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shown = ours.issue(&["pacs.example"], 2020, 2120).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(callers.pem().as_bytes()).unwrap()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(shown.key));
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![CertificateDer::from(shown.certificate)], key)
        .unwrap();
    let (acceptor, requests) = (TlsAcceptor::from(Arc::new(config)), Arc::new(AtomicU32::new(0)));
    let counted = Arc::clone(&requests);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, counted) = (acceptor.clone(), Arc::clone(&counted));
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut said = Vec::new();
                while !said.ends_with(b"\r\n\r\n") && !said.ends_with(b"\x1c\r") {
                    let Ok(byte) = stream.read_u8().await else { return };
                    said.push(byte);
                }
                counted.fetch_add(1, Ordering::Relaxed);
                let said = String::from_utf8(said).unwrap();
                let answer = match said.split('|').nth(9) {
                    Some(id) => frame(format!("MSH|^~\\&|C\rMSA|AA|{id}\r").as_bytes()),
                    None => b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok".to_vec(),
                };
                let _ = stream.write_all(&answer).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    (address, requests)
}

fn named(namespace: &str, name: &str) -> Option<ClientName> {
    Some(ClientName { namespace: namespace.to_owned(), name: name.to_owned() })
}

fn kinds() -> [ProbeKind; 2] {
    [
        ProbeKind::Http { path: "/".to_owned(), host: "pacs.example".to_owned() },
        ProbeKind::Hl7(Receiver { application: "LAB".to_owned(), facility: "N".to_owned() }),
    ]
}

async fn probed(
    trust: &Trust,
    address: SocketAddr,
    ours: &Authority,
    client: Option<ClientName>,
    kind: ProbeKind,
) -> Result<(), EndpointReason> {
    let target = ProbeTarget {
        endpoint: Endpoint { address: address.ip(), port: address.port(), interface: "web".to_owned(), pod: None },
        kind,
        tls: Some(TlsTarget { name: "pacs.example".to_owned(), ca_bundle: ours.pem().into(), client }),
        interval: Duration::from_secs(10),
        timeout: Duration::from_secs(5),
        thresholds: Thresholds { failures: 3, successes: 1 },
    };
    match probe(&target, trust).await.outcome {
        ProbeOutcome::Answered => Ok(()),
        ProbeOutcome::Failed(reason) => Err(reason),
    }
}

#[tokio::test]
async fn each_fault_of_a_client_certificate_ends_in_its_reason() {
    use EndpointReason as E;
    let (ours, callers, others) = (Authority::new().unwrap(), Authority::new().unwrap(), Authority::new().unwrap());
    let folder = Folder::new();
    let place = |path: &str| folder.0.join(path);
    let good = callers.issue(&["medley"], 2020, 2120).unwrap();
    good.write(&place("radiology/good")).unwrap();
    good.write(&place("oncology/theirs")).unwrap();
    callers.issue(&["medley"], 2019, 2020).unwrap().write(&place("radiology/old")).unwrap();
    callers.issue(&["medley"], 2119, 2120).unwrap().write(&place("radiology/early")).unwrap();
    others.issue(&["medley"], 2020, 2120).unwrap().write(&place("radiology/other")).unwrap();
    good.write(&place("radiology/mixed")).unwrap();
    std::fs::copy(place("radiology/other/tls.key"), place("radiology/mixed/tls.key")).unwrap();
    good.write(&place("radiology/broken")).unwrap();
    std::fs::write(place("radiology/broken/tls.crt"), "no certificate").unwrap();
    good.write(&place("radiology/large")).unwrap();
    std::fs::write(place("radiology/large/tls.crt"), vec![b'\n'; 300 * 1024]).unwrap();
    let trust = Trust::new(Some(folder.0.clone()));
    for version in VERSIONS {
        let (server, requests) = server(&ours, &callers, version).await;
        for kind in kinds() {
            for (what, client, expected) in [
                ("as it should be", named("radiology", "good"), Ok(())),
                ("none is named", None, Err(E::ClientCertificateMissing)),
                ("none of this name", named("radiology", "none"), Err(E::ClientCertificateMissing)),
                ("that of another namespace", named("radiology", "theirs"), Err(E::ClientCertificateMissing)),
                ("a way out of the folder", named("radiology", "../oncology/theirs"), Err(E::ClientCertificateMissing)),
                ("no namespace", named("", "good"), Err(E::ClientCertificateMissing)),
                ("a key that is another's", named("radiology", "mixed"), Err(E::ClientCertificateMissing)),
                ("no certificate", named("radiology", "broken"), Err(E::ClientCertificateMissing)),
                ("a large file", named("radiology", "large"), Err(E::ClientCertificateMissing)),
                ("expired", named("radiology", "old"), Err(E::ClientCertificateExpired)),
                ("not valid yet", named("radiology", "early"), Err(E::ClientCertificateExpired)),
                ("of another authority", named("radiology", "other"), Err(E::ClientCertificateRefused)),
            ] {
                let before = requests.load(Ordering::Relaxed);
                let found = probed(&trust, server, &ours, client, kind.clone()).await;
                assert_eq!(found, expected, "{what}: {version:?}, {kind:?}");
                assert_eq!(requests.load(Ordering::Relaxed) - before, u32::from(expected.is_ok()), "{what}");
            }
        }
    }
}

#[tokio::test]
async fn a_certificate_that_was_renewed_is_used_and_one_that_is_half_written_is_not() {
    let (ours, before, after) = (Authority::new().unwrap(), Authority::new().unwrap(), Authority::new().unwrap());
    let folder = Folder::new();
    let place = folder.0.join("radiology/pacs");
    before.issue(&["medley"], 2020, 2120).unwrap().write(&place).unwrap();
    let trust = Trust::looking_always(&folder.0);
    let (old, _) = server(&ours, &before, &TLS13).await;
    let (new, _) = server(&ours, &after, &TLS13).await;
    let [kind, _] = kinds();
    let asked = async |address| probed(&trust, address, &ours, named("radiology", "pacs"), kind.clone()).await;
    assert_eq!(asked(old).await, Ok(()));
    assert_eq!(asked(new).await, Err(EndpointReason::ClientCertificateRefused));
    std::fs::write(place.join("tls.key"), "-----BEGIN PRIVATE KEY-----\n").unwrap();
    assert_eq!(asked(old).await, Ok(()), "what was there stays");
    after.issue(&["medley"], 2020, 2120).unwrap().write(&place).unwrap();
    assert_eq!(asked(new).await, Ok(()));
    assert_eq!(asked(old).await, Err(EndpointReason::ClientCertificateRefused));
    std::fs::remove_dir_all(&place).unwrap();
    assert_eq!(asked(new).await, Ok(()), "it is valid all the same");
    before.issue(&["medley"], 2019, 2020).unwrap().write(&place).unwrap();
    assert_eq!(asked(old).await, Err(EndpointReason::ClientCertificateExpired));
}

#[tokio::test]
async fn steps_show_a_certificate_and_are_told_when_it_is_not_taken() {
    let (ours, callers, others) = (Authority::new().unwrap(), Authority::new().unwrap(), Authority::new().unwrap());
    let folder = Folder::new();
    callers.issue(&["medley"], 2020, 2120).unwrap().write(&folder.0.join("radiology/good")).unwrap();
    callers.issue(&["medley"], 2019, 2020).unwrap().write(&folder.0.join("radiology/old")).unwrap();
    others.issue(&["medley"], 2020, 2120).unwrap().write(&folder.0.join("radiology/other")).unwrap();
    let loopback = AddressGuard::new(vec!["127.0.0.0/8".parse().unwrap()], Vec::new(), Vec::new());
    let network = Network::new(Arc::new(loopback), Arc::new(Trust::new(Some(folder.0.clone())))).unwrap();
    for version in VERSIONS {
        let (server, _) = server(&ours, &callers, version).await;
        let call = async |wire: Wire, client: Option<ClientName>| {
            let view =
                TlsView { ca_bundle: ours.pem().into(), name: "pacs.example".to_owned(), client, ..TlsView::default() };
            let call = StartCall {
                attempt: Attempt { step: "a".to_owned(), index: None, number: 1 },
                lane: LaneKey::default(),
                urgency: Urgency::Routine,
                turn: None,
                endpoint: server,
                tls: Some(view),
                wire,
                idempotency_key: "k".to_owned(),
                timeout: Duration::from_secs(5),
            };
            network.call(&call).await
        };
        let http = Wire::Http(HttpRequest {
            host: "pacs.n.svc".to_owned(),
            method: "GET",
            path: "/".to_owned(),
            headers: Vec::new(),
            body: None,
        });
        let hl7 = Wire::Hl7v2("MSH|^~\\&|A|B|C|D|||ADT^A08||P|2.5\r".to_owned());
        for wire in [http, hl7] {
            let well = call(wire.clone(), named("radiology", "good")).await;
            assert!(matches!(well, CallResult::Answered(_) | CallResult::Acknowledged(_)), "{version:?}: {well:?}");
            for (client, words) in [
                (None, "wants a client certificate"),
                (named("oncology", "good"), "wants a client certificate"),
                (named("radiology", "old"), "client certificate is not valid at this time"),
                (named("radiology", "other"), "does not accept the client certificate"),
            ] {
                let refused = call(wire.clone(), client).await;
                let CallResult::Failed { class: ErrorClass::Configuration, sent: false, message } = refused else {
                    panic!("{version:?}: {words}: {refused:?}")
                };
                assert!(message.contains(words), "{message}");
            }
        }
    }
}
