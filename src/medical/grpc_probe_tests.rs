//! Servers that answer health checks in every way.

use std::{convert::Infallible, future::pending, time::Duration};

use http::{HeaderValue, Response};
use http_body_util::{StreamBody, combinators::BoxBody};
use hyper::{
    body::{Frame, Incoming},
    server::conn::http2 as server,
    service::service_fn,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    time::timeout,
};

use super::*;
use EndpointReason as E;

/// What a server answers.
#[derive(Clone)]
struct Answers {
    http: u16,
    media_type: &'static str,
    /// In the head, which then is the whole answer.
    head: Option<&'static str>,
    body: Vec<u8>,
    /// In the trailers.
    ended: Option<&'static str>,
    /// The body does not end.
    stalls: bool,
}

fn serving(status: u8) -> Answers {
    let body = vec![0, 0, 0, 0, 2, 0x08, status];
    Answers { http: 200, media_type: "application/grpc", head: None, body, ended: Some("0"), stalls: false }
}

fn headers(status: &'static str) -> HeaderMap {
    HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static(status))])
}

fn body(answers: &Answers) -> BoxBody<Bytes, Infallible> {
    let mut frames = vec![];
    if answers.head.is_none() {
        frames.push(Ok(Frame::data(Bytes::from(answers.body.clone()))));
    }
    if let Some(status) = answers.ended.filter(|_| answers.head.is_none()) {
        frames.push(Ok(Frame::trailers(headers(status))));
    }
    let frames = futures::stream::iter(frames);
    if answers.stalls {
        return BoxBody::new(StreamBody::new(futures::StreamExt::chain(frames, futures::stream::pending())));
    }
    BoxBody::new(StreamBody::new(frames))
}

/// What is found of a server that answers this; `None` where the probe does not end by itself.
async fn found(answers: Answers) -> Option<Result<(), EndpointReason>> {
    let (here, there) = duplex(64 * 1024);
    let service = service_fn(move |request: Request<Incoming>| {
        let answers = answers.clone();
        async move {
            assert_eq!(request.method(), "POST");
            assert_eq!(request.uri().to_string(), "http://infer.example:9000/grpc.health.v1.Health/Check");
            assert_eq!(request.headers()["content-type"], "application/grpc");
            assert_eq!(request.headers()["te"], "trailers");
            let asked = request.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(asked, grpc::request("triage.v1"));
            let mut response = Response::builder().status(answers.http).header("content-type", answers.media_type);
            if let Some(status) = answers.head {
                response = response.header("grpc-status", status);
            }
            Ok::<_, Infallible>(response.body(body(&answers)).unwrap())
        }
    });
    let serving = server::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(there), service);
    let peer = tokio::spawn(async move {
        let _ = serving.await;
    });
    let probe = timeout(Duration::from_secs(60), ask(here, "infer.example:9000", false, "triage.v1")).await.ok();
    peer.abort();
    probe
}

#[tokio::test(start_paused = true)]
async fn each_fault_of_a_grpc_server_ends_in_its_reason() {
    let head = |status| Answers { head: Some(status), ..serving(1) };
    let ended = |ended| Answers { ended, ..serving(1) };
    let flood = [vec![0, 0, 0, 0x40, 0], vec![0; 1 << 14]].concat();
    for (what, answers, expected) in [
        ("it serves", serving(1), Ok(())),
        ("with a suffix", Answers { media_type: "application/grpc+proto", ..serving(1) }, Ok(())),
        ("it does not serve", serving(2), Err(E::NotServing)),
        ("it does not know", serving(0), Err(E::NotServing)),
        ("another service", serving(3), Err(E::ServiceUnknown)),
        ("no such service", head("5"), Err(E::ServiceUnknown)),
        ("no such service, in the trailers", ended(Some("5")), Err(E::ServiceUnknown)),
        ("no health service", head("12"), Err(E::HealthUnimplemented)),
        ("not for everybody", head("16"), Err(E::Unauthorized)),
        ("forbidden", head("7"), Err(E::Unauthorized)),
        ("too much", head("8"), Err(E::Overloaded)),
        ("not now", head("14"), Err(E::Overloaded)),
        ("an error", ended(Some("13")), Err(E::GrpcStatus)),
        ("a status that is none", head("OK"), Err(E::GrpcInvalid)),
        ("no status", ended(None), Err(E::GrpcInvalid)),
        ("no message", Answers { body: Vec::new(), ..serving(1) }, Err(E::GrpcInvalid)),
        ("half a message", Answers { body: vec![0, 0, 0, 0, 2, 8], ..serving(1) }, Err(E::GrpcInvalid)),
        ("a compressed message", Answers { body: vec![1, 0, 0, 0, 2, 8, 1], ..serving(1) }, Err(E::GrpcInvalid)),
        ("more than fits", Answers { body: flood, ..serving(1) }, Err(E::GrpcInvalid)),
        ("a page", Answers { media_type: "text/html", ..serving(1) }, Err(E::GrpcInvalid)),
        ("a token wanted", Answers { http: 401, ..serving(1) }, Err(E::Unauthorized)),
        (
            "a proxy that finds nobody",
            Answers { http: 503, media_type: "text/plain", ..serving(1) },
            Err(E::HttpStatus),
        ),
        ("elsewhere", Answers { http: 302, ..serving(1) }, Err(E::HttpStatus)),
    ] {
        assert_eq!(found(answers).await, Some(expected), "{what}");
    }
    assert_eq!(found(Answers { stalls: true, ..serving(1) }).await, Some(Ok(())), "its status is there");
    let stalls = Answers { ended: None, stalls: true, ..serving(1) };
    assert_eq!(found(stalls).await, None, "what drips is the caller's to bound");
}

/// What is found of a peer that reads a little, says this and closes where it is to.
async fn says(bytes: &'static [u8], closes: bool) -> Option<Result<(), EndpointReason>> {
    let (here, mut there) = duplex(64 * 1024);
    let peer = async move {
        let _ = there.read(&mut [0; 1024]).await;
        let _ = there.write_all(bytes).await;
        if !closes {
            pending::<()>().await;
        }
    };
    let probe = timeout(Duration::from_secs(60), ask(here, "infer.example", false, ""));
    tokio::join!(probe, async { timeout(Duration::from_secs(90), peer).await }).0.ok()
}

#[tokio::test(start_paused = true)]
async fn what_is_not_http_2_is_told_apart_from_a_connection_that_broke() {
    for text in [
        &b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"[..],
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    ] {
        let found = says(text, true).await;
        assert!(
            matches!(found, Some(Err(E::GrpcInvalid | E::TcpFailed))),
            "{}: {found:?}",
            String::from_utf8_lossy(text)
        );
    }
    let found = says(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n", false).await;
    assert_eq!(found, Some(Err(E::GrpcInvalid)), "a web server");
    assert_eq!(says(b"", true).await, Some(Err(E::TcpFailed)), "it hangs up");
    assert_eq!(says(b"", false).await, None, "silence is the caller's to bound");
}
