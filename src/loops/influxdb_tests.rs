//! The sink before a scripted receiver. It stands for InfluxDB 2, which Debian does not have; version 1 itself is asked in
//! `tests/influxdb_peer.rs`.

use std::{collections::VecDeque, sync::Arc};

use axum::{
    Router,
    body::to_bytes,
    extract::{Request, State},
    http::HeaderMap,
};
use jiff::Timestamp;
use tokio::sync::mpsc;

use super::*;

/// What a request held: its path with query, its `Authorization`, its body.
type Seen = (String, Option<String>, String);

/// A status, and for how long the server asks to be left alone.
type Answer = (u16, Option<&'static str>);

#[derive(Clone)]
struct Script {
    /// Answers in order, then 204.
    answers: Arc<Mutex<VecDeque<Answer>>>,
    seen: mpsc::UnboundedSender<Seen>,
}

async fn answer(State(script): State<Script>, request: Request) -> (StatusCode, HeaderMap) {
    let uri = request.uri().to_string();
    let authorization = request.headers().get("authorization").map(|v| v.to_str().unwrap().to_owned());
    let body = to_bytes(request.into_body(), 1 << 20).await.unwrap();
    script.seen.send((uri, authorization, String::from_utf8(body.to_vec()).unwrap())).unwrap();
    let (status, retry_after) = script.answers.lock().unwrap().pop_front().unwrap_or((204, None));
    let mut headers = HeaderMap::new();
    if let Some(seconds) = retry_after {
        headers.insert("retry-after", seconds.parse().unwrap());
    }
    (StatusCode::from_u16(status).unwrap(), headers)
}

/// A receiver with its script, and a sink that writes to it every few milliseconds.
async fn scripted(
    path: &str,
    credentials: Credentials,
    answers: &[Answer],
) -> (Metrics, mpsc::UnboundedReceiver<Seen>, CancellationToken) {
    let (seen, requests) = mpsc::unbounded_channel();
    let script = Script { answers: Arc::new(Mutex::new(answers.iter().copied().collect())), seen };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}{path}", listener.local_addr().unwrap());
    let stop = CancellationToken::new();
    let app = Router::new().fallback(answer).with_state(script);
    tokio::spawn(axum::serve(listener, app).with_graceful_shutdown(stop.clone().cancelled_owned()).into_future());
    let metrics = Metrics::default();
    metrics.leader.set(1);
    let settings = Settings {
        url: url.parse().unwrap(),
        credentials,
        interval: Duration::from_millis(20),
        source: "medley-0".into(),
    };
    let mut sink = Sink::new(settings, Clock::simulated(Timestamp::UNIX_EPOCH), metrics.clone()).unwrap();
    sink.pauses = (Duration::from_millis(1), Duration::from_millis(4));
    tokio::spawn(sink.run(stop.clone()));
    (metrics, requests, stop)
}

fn dropped(metrics: &Metrics, reason: &'static str) -> u64 {
    metrics.influxdb_dropped.get_or_create(&Dropped { reason }).get()
}

#[tokio::test]
async fn version_2_is_asked_with_its_token_and_bucket() {
    let path = "/api/v2/write?org=hospital&bucket=medley&precision=ms";
    let (metrics, mut requests, stop) = scripted(path, Credentials::Token("t0k=n".into()), &[]).await;
    let (uri, authorization, body) = requests.recv().await.unwrap();
    assert_eq!((uri.as_str(), authorization.as_deref()), (path, Some("Token t0k=n")));
    assert!(body.starts_with("medley_leader,pod=medley-0 value=1 "), "{body}");
    // the second comes after the first was answered
    requests.recv().await.unwrap();
    assert!(metrics.influxdb_written.get() >= body.lines().count() as u64);
    stop.cancel();
}

#[tokio::test]
async fn what_could_not_be_written_is_written_again_and_first() {
    let answers = [(503, None), (401, None), (429, Some("0"))];
    let (metrics, mut requests, stop) = scripted("/write?db=medley", Credentials::None, &answers).await;
    let (_, authorization, first) = requests.recv().await.unwrap();
    assert_eq!(authorization, None);
    for _ in 0..3 {
        assert_eq!(requests.recv().await.unwrap().2, first, "the same points again");
    }
    assert_ne!(requests.recv().await.unwrap().2, "");
    assert_eq!((dropped(&metrics, "queue_full"), dropped(&metrics, "refused")), (0, 0));
    stop.cancel();
}

#[tokio::test]
async fn points_that_are_refused_are_counted_and_stop_nothing() {
    let password = Credentials::Password("me".into(), "secret".into());
    assert_eq!(format!("{password:?}"), "Password", "no credential is ever shown");
    let (metrics, mut requests, stop) = scripted("/write?db=medley", password, &[(400, None)]).await;
    let (_, authorization, first) = requests.recv().await.unwrap();
    assert_eq!(authorization.as_deref(), Some("Basic bWU6c2VjcmV0"));
    requests.recv().await.unwrap();
    assert_eq!(dropped(&metrics, "refused"), first.lines().count() as u64);
    stop.cancel();
}
