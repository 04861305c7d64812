//! What requests cost the API server, and what clients get while it does not answer: under paused time, with reviews answered in this
//! process, since no real server fails at a chosen moment. Who may see what is in `tests/registry_api.rs`, on a real one.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::body::{Body, Bytes};
use http_body_util::{BodyExt, Full};
use kube::Client;
use tokio::time::advance;
use tower::{BoxError, ServiceExt, service_fn};

use super::*;
use crate::{
    api::{MedicalService, ServiceQuery},
    core::registry::Item,
    telemetry::Metrics,
};

/// What the API server does, and what it was asked.
#[derive(Default)]
struct Api {
    refuses: AtomicBool,
    hangs: AtomicBool,
    fails: AtomicBool,
    tokens: AtomicUsize,
    rights: AtomicUsize,
    asked: Mutex<Vec<Value>>,
}

impl Api {
    fn client(self: &Arc<Self>) -> Client {
        let api = Arc::clone(self);
        let service = service_fn(move |request: axum::http::Request<kube::client::Body>| {
            let api = Arc::clone(&api);
            async move {
                let path = request.uri().path().to_owned();
                let body = request.into_body().collect_bytes().await?;
                if api.hangs.load(Ordering::Relaxed) {
                    std::future::pending::<()>().await;
                }
                let mut review: Value = serde_json::from_slice(&body)?;
                let token = path.ends_with("/tokenreviews");
                if token {
                    api.tokens.fetch_add(1, Ordering::Relaxed);
                    let known = review["spec"]["token"] != "garbage";
                    review["status"] = json!({"authenticated": known, "audiences": review["spec"]["audiences"],
                        "user": {"username": review["spec"]["token"], "groups": ["system:authenticated"]}});
                } else {
                    api.rights.fetch_add(1, Ordering::Relaxed);
                    review["status"] = json!({"allowed": !api.refuses.load(Ordering::Relaxed)});
                }
                api.asked.lock().unwrap().push(review["spec"].clone());
                let status = if api.fails.load(Ordering::Relaxed) { 500 } else { 201 };
                let answer = Full::new(Bytes::from(review.to_string()));
                Ok::<_, BoxError>(axum::http::Response::builder().status(status).body(answer)?)
            }
        });
        Client::new(service, "default")
    }

    fn counts(&self) -> (usize, usize) {
        (self.tokens.load(Ordering::Relaxed), self.rights.load(Ordering::Relaxed))
    }
}

fn service(name: &str) -> MedicalService {
    serde_json::from_value(json!({
        "apiVersion": "medley.health/v1alpha1", "kind": "MedicalService", "metadata": {"namespace": "a", "name": name, "resourceVersion": "1"},
        "spec": {"interfaces": [{"name": "main", "port": 80, "protocol": "FHIR"}]}
    }))
    .unwrap()
}

fn caches(services: usize) -> Caches {
    let caches = Caches::default();
    caches.services.list_begins(&None);
    (0..services).for_each(|i| caches.services.listed(&None, service(&format!("s-{i}"))));
    caches.services.list_ends(&None);
    caches.leave_empty_but_services();
    caches
}

fn app(api: &Arc<Api>, caches: &Caches) -> Router {
    let reviews = Arc::new(Reviews::new(api.client(), Metrics::default()));
    router(caches.clone(), reviews, Arc::default(), Arc::new(|| json!({})), CancellationToken::new())
}

async fn get_as(app: &Router, token: &str, path: &str) -> Response {
    let request = axum::http::Request::get(path).header(header::AUTHORIZATION, format!("Bearer {token}"));
    app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

async fn status(app: &Router, token: &str, path: &str) -> u16 {
    get_as(app, token, path).await.status().as_u16()
}

const LIST: &str = "/registry/v1/services?namespace=a";

#[tokio::test(start_paused = true)]
async fn answers_are_kept_for_ten_seconds_and_a_right_that_is_withdrawn_ends_with_them() {
    let (api, caches) = (Arc::<Api>::default(), caches(3));
    let app = app(&api, &caches);
    for _ in 0..50 {
        assert_eq!(status(&app, "reader", LIST).await, 200);
        assert_eq!(status(&app, "garbage", LIST).await, 401);
    }
    assert_eq!(api.counts(), (2, 1), "one review for each token, one for the right");
    assert_eq!(status(&app, "other", LIST).await, 200);
    assert_eq!(status(&app, "reader", "/registry/v1/services/a/s-1").await, 200);
    assert_eq!(api.counts(), (3, 3), "another user and another right are asked for");
    let right = api.asked.lock().unwrap().last().unwrap().clone();
    assert_eq!(
        (&right["user"], &right["resourceAttributes"]),
        (
            &json!("reader"),
            &json!({"group": "medley.health", "resource": "medicalservices", "verb": "get", "namespace": "a", "name": "s-1"})
        )
    );
    api.refuses.store(true, Ordering::Relaxed);
    advance(Duration::from_secs(11)).await;
    assert_eq!(status(&app, "reader", LIST).await, 403);
}

#[tokio::test(start_paused = true)]
async fn while_the_api_server_does_not_answer_nobody_is_let_in_and_clients_are_told_to_come_back() {
    let (api, caches) = (Arc::<Api>::default(), caches(3));
    let app = app(&api, &caches);
    for fault in [&api.fails, &api.hangs] {
        fault.store(true, Ordering::Relaxed);
        let answer = get_as(&app, "reader", LIST).await;
        assert_eq!(answer.status(), 503);
        assert_eq!(answer.headers()[header::RETRY_AFTER], "5");
        fault.store(false, Ordering::Relaxed);
    }
    assert_eq!(status(&app, "reader", LIST).await, 200, "no failure is kept");
    // what hangs for some holds up nobody who is known
    api.hangs.store(true, Ordering::Relaxed);
    for i in 0..20 {
        let app = app.clone();
        tokio::spawn(async move { status(&app, &format!("new-{i}"), LIST).await });
    }
    tokio::task::yield_now().await;
    assert_eq!(status(&app, "reader", LIST).await, 200);
}

#[tokio::test(start_paused = true)]
async fn before_everything_is_known_nothing_is_told() {
    let api = Arc::<Api>::default();
    let app = app(&api, &Caches::default());
    for path in [
        LIST,
        "/registry/v1/services/a/x",
        "/registry/v1/watch",
        "/registry/fhir/Endpoint",
        "/registry/v1/queries",
        "/registry/v1/queries/a/x",
        "/registry/v1/query?namespace=a&protocol=FHIR",
        "/registry/v1/watch/queries",
    ] {
        assert_eq!(status(&app, "reader", path).await, 503, "{path}");
    }
}

/// The names of the events of a stream that are there by now.
async fn events(body: &mut Body, wanted: usize) -> Vec<String> {
    let mut found = Vec::new();
    while found.len() < wanted {
        let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
        let text = String::from_utf8(frame.to_vec()).unwrap();
        found.extend(text.lines().filter_map(|l| l.strip_prefix("event: ").map(str::to_owned)));
    }
    found
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_too_slow_gets_everything_again_and_one_that_may_not_any_more_is_let_go() {
    let (api, caches) = (Arc::<Api>::default(), caches(3));
    let app = app(&api, &caches);
    let mut body = get_as(&app, "reader", "/registry/v1/watch").await.into_body();
    assert_eq!(events(&mut body, 4).await, ["set", "set", "set", "synced"]);
    // a change that changes nothing is not told
    caches.changes.tell(&Item::service(Key::new("a", "s-1")));
    caches.services.deleted(&service("s-2")).unwrap();
    caches.changes.tell(&Item::service(Key::new("a", "s-2")));
    assert_eq!(events(&mut body, 1).await, ["delete"]);
    for _ in 0..2000 {
        caches.changes.tell(&Item::service(Key::new("a", "s-1")));
    }
    assert_eq!(events(&mut body, 4).await, ["resync", "set", "set", "synced"]);
    api.refuses.store(true, Ordering::Relaxed);
    while let Some(frame) = body.frame().await {
        let data = frame.unwrap().into_data().unwrap();
        assert!(data.starts_with(b":"), "only comments until the next review: {data:?}");
    }
    assert_eq!(status(&app, "reader", "/registry/v1/watch").await, 403);
}

fn query(name: &str, version: u32) -> ServiceQuery {
    serde_json::from_value(json!({
        "apiVersion": "medley.health/v1alpha1", "kind": "ServiceQuery",
        "metadata": {"namespace": "a", "name": name, "resourceVersion": version.to_string(), "generation": 1},
        "spec": {"protocol": "FHIR", "port": 80},
        "status": {"observedGeneration": 1, "matched": 1, "matches": [{"service": format!("s-{version}"), "interface": "main",
            "endpoint": "10.0.0.1:80", "probability": 100, "score": {"health": 0, "matching": 0}}]}
    }))
    .unwrap()
}

async fn json_of(app: &Router, path: &str) -> Value {
    let body = get_as(app, "reader", path).await.into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice(&body).unwrap()
}

#[tokio::test(start_paused = true)]
async fn answers_are_told_page_by_page_and_as_they_change_by_the_right_to_queries() {
    let (api, caches) = (Arc::<Api>::default(), caches(3));
    (1..=3).for_each(|i| drop(caches.queries.applied(query(&format!("q-{i}"), i)).unwrap()));
    let app = app(&api, &caches);
    let names = |page: &Value| -> Vec<String> {
        page["queries"].as_array().unwrap().iter().map(|q| q["name"].as_str().unwrap().to_owned()).collect()
    };
    let page = json_of(&app, "/registry/v1/queries?namespace=a&limit=2").await;
    assert_eq!((names(&page), &page["after"]), (vec!["q-1".to_owned(), "q-2".to_owned()], &json!("a/q-2")));
    let rest = json_of(&app, "/registry/v1/queries?namespace=a&after=a/q-2").await;
    assert_eq!((names(&rest), &rest["after"]), (vec!["q-3".to_owned()], &Value::Null));
    let one = json_of(&app, "/registry/v1/queries/a/q-2").await;
    assert_eq!((&one["current"], &one["matches"][0]["service"]), (&json!(true), &json!("s-2")));
    let right = api.asked.lock().unwrap().last().unwrap()["resourceAttributes"].clone();
    assert_eq!(
        (&right["resource"], &right["verb"], &right["name"]),
        (&json!("servicequeries"), &json!("get"), &json!("q-2"))
    );

    let mut body = get_as(&app, "reader", "/registry/v1/watch/queries?namespace=a&name=q-2").await.into_body();
    assert_eq!(events(&mut body, 2).await, ["set", "synced"]);
    for (name, kind) in [("q-1", Kind::Query), ("q-2", Kind::Service), ("q-2", Kind::Query)] {
        caches.changes.tell(&Item { kind, key: Key::new("a", name) });
    }
    caches.queries.deleted(&query("q-2", 9)).unwrap();
    caches.changes.tell(&Item::query(Key::new("a", "q-2")));
    assert_eq!(events(&mut body, 1).await, ["delete"], "nothing of others, and nothing that the client knows");
}

#[tokio::test(start_paused = true)]
async fn a_question_is_answered_from_the_services_of_its_namespace_by_the_right_to_list_them() {
    let (api, caches) = (Arc::<Api>::default(), caches(2));
    let app = app(&api, &caches);
    let reply = json_of(&app, "/registry/v1/query?namespace=a&protocol=FHIR").await;
    let excluded = json!([{"service": "s-0", "reason": "NoneReady"}, {"service": "s-1", "reason": "NoneReady"}]);
    assert_eq!(
        reply,
        json!({"namespace": "a", "current": true, "panic": false, "empty": "NoneReady", "matches": [], "excluded": excluded})
    );
    let right = api.asked.lock().unwrap().last().unwrap()["resourceAttributes"].clone();
    assert_eq!(
        (&right["resource"], &right["verb"], &right["namespace"]),
        (&json!("medicalservices"), &json!("list"), &json!("a"))
    );
    let other = json_of(&app, "/registry/v1/query?namespace=b&protocol=FHIR").await;
    assert_eq!((&other["empty"], &other["excluded"]), (&json!("NoMatch"), &Value::Null), "nothing of other namespaces");
    assert_eq!(status(&app, "reader", "/registry/v1/query?namespace=a").await, 400);
}

#[test]
fn links_lead_where_the_client_came_from_unless_its_header_is_no_host() {
    let of =
        |host: &str| base(&HeaderMap::from_iter([(header::HOST, axum::http::HeaderValue::from_str(host).unwrap())]));
    assert_eq!(of("registry.medley.svc:8443"), "https://registry.medley.svc:8443/registry/fhir");
    assert_eq!(of("x/\"><script>"), "https://localhost/registry/fhir");
    let pair = |n: &str, v: &str| (n.to_owned(), v.to_owned());
    assert_eq!(in_url(&[&pair("status", "a b&c"), &pair("_id", "x-1")]), "status=a%20b%26c&_id=x-1");
}
