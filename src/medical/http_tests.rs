//! Calls over real sockets: what a hostile or broken service can do to the operator, and where no call goes.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::Instant,
};

use super::*;
use crate::{
    api::Urgency,
    core::{
        coordination::view::{Attempt, LaneKey, StartCall, Wire},
        discovery::guard::AddressGuard,
    },
    medical::calls::{CallIo, Network},
};

/// A guard that an administrator has opened for loopback, where these services are.
fn open() -> Arc<AddressGuard> {
    let ranges = ["127.0.0.0/8", "::1/128"].map(|r| r.parse().unwrap());
    Arc::new(AddressGuard::new(ranges.into(), Vec::new(), Vec::new()))
}

/// A service on loopback that reads a request's head and does this with the connection; how many came.
async fn service<F, R>(answer: F) -> (SocketAddr, Arc<AtomicUsize>)
where
    F: Fn(TcpStream) -> R + Send + Sync + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            let mut head = Vec::new();
            let mut buffer = [0; 1024];
            while !head.windows(4).any(|w| w == b"\r\n\r\n") {
                match stream.read(&mut buffer).await {
                    Ok(0) | Err(_) => break,
                    Ok(n) => head.extend_from_slice(&buffer[..n]),
                }
            }
            tokio::spawn(answer(stream));
        }
    });
    (address, asked)
}

/// A service that answers this text and closes.
async fn says(text: String) -> SocketAddr {
    let text = Arc::new(text);
    let answer = move |mut stream: TcpStream| {
        let text = Arc::clone(&text);
        async move {
            let _ = stream.write_all(text.as_bytes()).await;
        }
    };
    service(answer).await.0
}

fn to(endpoint: SocketAddr, timeout: Duration) -> StartCall {
    StartCall {
        attempt: Attempt { step: "a".to_owned(), index: None, number: 1 },
        lane: LaneKey::default(),
        urgency: Urgency::Routine,
        turn: None,
        endpoint,
        tls: None,
        wire: Wire::Http(HttpRequest {
            host: "archive.radiology.svc".to_owned(),
            method: "GET",
            path: "/".to_owned(),
            headers: Vec::new(),
            body: None,
        }),
        idempotency_key: "k".to_owned(),
        timeout,
    }
}

async fn call(endpoint: SocketAddr) -> CallResult {
    Network::new(open(), Arc::default()).unwrap().call(&to(endpoint, Duration::from_secs(5))).await
}

fn class(result: &CallResult) -> Option<(ErrorClass, bool)> {
    match result {
        CallResult::Failed { class, sent, .. } => Some((*class, *sent)),
        _ => None,
    }
}

#[tokio::test]
async fn no_call_reaches_loopback_unless_an_administrator_opens_it() {
    let (address, asked) = service(|_| async {}).await;
    let closed = Network::new(Arc::default(), Arc::default()).unwrap();
    let mapped = SocketAddr::new("::ffff:127.0.0.1".parse().unwrap(), address.port());
    for endpoint in [address, mapped] {
        let result = closed.call(&to(endpoint, Duration::from_secs(5))).await;
        assert_eq!(class(&result), Some((ErrorClass::Configuration, false)), "{endpoint}");
        let CallResult::Failed { message, .. } = result else { unreachable!() };
        assert!(message.contains("a loopback address") && message.contains("calls.allowedRanges"), "{message}");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 0, "nothing was connected to");
    let _ = call(address).await;
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_endless_body_is_cut_off() {
    let (address, _) = service(|mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        // until the operator hangs up
        while stream.write_all(&[b'x'; 8192]).await.is_ok() {}
    })
    .await;
    let begin = Instant::now();
    let result = call(address).await;
    assert_eq!(class(&result), Some((ErrorClass::InvalidResult, true)), "{result:?}");
    assert!(begin.elapsed() < Duration::from_secs(4), "the bound is on bytes, not on time");
}

#[tokio::test]
async fn a_body_that_drips_ends_with_the_timeout() {
    for head in ["HTTP/1.1 200 OK\r\nx: ", "HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n"] {
        let (address, _) = service(move |mut stream| async move {
            let _ = stream.write_all(head.as_bytes()).await;
            // each byte comes well before any idle timeout would
            while stream.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        let network = Network::new(open(), Arc::default()).unwrap();
        let begin = Instant::now();
        let result = network.call(&to(address, Duration::from_millis(300))).await;
        assert_eq!(class(&result), Some((ErrorClass::Timeout, true)), "{result:?}");
        assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    }
}

#[tokio::test]
async fn an_endless_head_is_cut_off() {
    let (address, _) = service(|mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nx: ").await;
        while stream.write_all(&[b'x'; 8192]).await.is_ok() {}
    })
    .await;
    let result = call(address).await;
    assert_eq!(class(&result), Some((ErrorClass::Connection, true)), "{result:?}");
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let (elsewhere, asked) = service(|_| async {}).await;
    let head = format!("HTTP/1.1 302 Found\r\nlocation: http://{elsewhere}/\r\ncontent-length: 0\r\n\r\n");
    let CallResult::Answered(answer) = call(says(head).await).await else { panic!("no answer") };
    assert_eq!(answer.status, 302);
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn json_is_parsed_as_deep_as_it_is_safe_and_text_stays_text() {
    let answered = |media_type: &str, body: &str| {
        let text =
            format!("HTTP/1.1 200 OK\r\ncontent-type: {media_type}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        async {
            match call(says(text).await).await {
                CallResult::Answered(answer) => answer.body,
                other => panic!("{other:?}"),
            }
        }
    };
    assert_eq!(answered("application/fhir+json", "{\"a\": 1}").await, json!({"a": 1}));
    assert_eq!(answered("text/html", "{\"a\": 1}").await, json!("{\"a\": 1}"));
    assert_eq!(answered("application/json", "{\"a\"").await, json!("{\"a\""));
    let deep = "[".repeat(100_000);
    assert_eq!(answered("application/json", &deep).await, json!(deep), "deep nesting takes no stack");
}

#[tokio::test]
async fn a_flood_of_headers_is_bounded() {
    let flood: String = (0..90).map(|n| format!("x-{n}: {}\r\n", "y".repeat(2000))).collect();
    let text = format!("HTTP/1.1 200 OK\r\n{flood}content-length: 0\r\n\r\n");
    let CallResult::Answered(answer) = call(says(text).await).await else { panic!("no answer") };
    assert_eq!(answer.headers.len(), 64);
    assert!(answer.headers.iter().all(|(_, v)| v.len() <= 1024));
}
