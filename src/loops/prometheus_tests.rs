//! The client before a scripted server: what real ones answer seldom. A real one is asked in `tests/prometheus_peer.rs`.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use tokio::sync::mpsc;

use super::*;

/// A status and the body that goes with it.
type Script = (u16, Arc<Vec<u8>>);

/// What a request held: its path with query, and its `Authorization`.
type Seen = (String, Option<String>);

async fn answer(
    State(((status, body), seen)): State<(Script, mpsc::UnboundedSender<Seen>)>,
    request: Request,
) -> Response {
    let authorization = request.headers().get("authorization").map(|v| v.to_str().unwrap().to_owned());
    let _ = seen.send((request.uri().to_string(), authorization));
    let location = [("location", "/api/v1/query")];
    (StatusCode::from_u16(status).unwrap(), location, Body::from(body.to_vec())).into_response()
}

/// What comes of asking a server that always answers so, and what it was asked.
async fn ask(path: &str, credentials: Credentials, status: u16, body: &[u8]) -> (Result<Vec<u8>, Unread>, Vec<Seen>) {
    let (seen, mut asked) = mpsc::unbounded_channel();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}{path}", listener.local_addr().unwrap()).parse().unwrap();
    let app = Router::new().fallback(answer).with_state(((status, Arc::new(body.to_vec())), seen));
    let serving = tokio::spawn(axum::serve(listener, app).into_future());
    let prometheus = Prometheus::new(Settings { url, credentials, authority: None }).unwrap();
    let read = prometheus.evaluate("1 - avg by (namespace) (a{b=\"c&d\"})").await;
    serving.abort();
    let mut all = Vec::new();
    while let Ok(one) = asked.try_recv() {
        all.push(one);
    }
    (read, all)
}

#[tokio::test]
async fn it_is_asked_below_its_path_with_its_credentials() {
    let query = "/api/v1/query?query=1+-+avg+by+%28namespace%29+%28a%7Bb%3D%22c%26d%22%7D%29&timeout=10s";
    for (path, credentials, begin, authorization) in [
        ("", Credentials::None, "", None),
        ("/prometheus/", Credentials::Token("t0k".into()), "/prometheus", Some("Bearer t0k")),
        ("/a/b", Credentials::Password("me".into(), "pw".into()), "/a/b", Some("Basic bWU6cHc=")),
    ] {
        let (read, seen) = ask(path, credentials, 200, b"{}").await;
        assert_eq!(read.unwrap(), b"{}");
        assert_eq!(seen, [(format!("{begin}{query}"), authorization.map(str::to_owned))]);
    }
}

#[tokio::test]
async fn what_is_no_answer_says_why() {
    let failed = br#"{"status":"error","errorType":"bad_data","error":"parse error"}"#;
    for (status, body, wanted) in [
        (400, &failed[..], Unread::Useless(Problem::Failed("bad_data: parse error".to_owned()))),
        (503, b"<html>", Unread::Refused(503)),
        (401, b"", Unread::Refused(401)),
        // it is not followed: the token would go elsewhere
        (302, b"", Unread::Refused(302)),
        (200, &vec![b' '; MOST + 1], Unread::TooLong(MOST)),
    ] {
        let (read, seen) = ask("", Credentials::None, status, body).await;
        assert_eq!((read, seen.len()), (Err(wanted), 1));
    }
    assert_eq!(ask("", Credentials::None, 200, &vec![b' '; MOST]).await.0.map(|b| b.len()), Ok(MOST));
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{free}").parse().unwrap();
    let settings = Settings { url, credentials: Credentials::None, authority: None };
    assert_eq!(Prometheus::new(settings).unwrap().evaluate("up").await, Err(Unread::Unreachable));
}

#[test]
fn credentials_are_not_shown() {
    let all = [Credentials::Password("me".into(), "pw".into()), Credentials::Token("t0k".into()), Credentials::None];
    assert_eq!(format!("{all:?}"), "[Password, Token, None]");
}
