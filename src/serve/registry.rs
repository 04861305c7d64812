//! The registry over HTTPS: services as JSON and as FHIR, answers to queries, and streams of their changes.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    access::{Refusal, allowed, known, token},
    answers::{self, Desk},
    stream::{self, Streams},
};
use crate::{
    cluster::{
        observe::Caches,
        review::{Deed, Reviews},
    },
    core::{
        discovery::guard::AddressGuard,
        name::Key,
        registry::{Kind, Problem, Record, fhir, filter::Filter},
    },
};

/// Path by which users are allowed to see mirrors.
const MIRRORS: &str = "/registry/v1/mirrors";

/// What mirrors tell, as JSON.
pub type Mirrors = Arc<dyn Fn() -> Value + Send + Sync>;

/// What the handlers read.
#[derive(Clone)]
pub(super) struct Registry {
    pub(super) caches: Caches,
    pub(super) reviews: Arc<Reviews>,
    pub(super) streams: Arc<Streams>,
    pub(super) stop: CancellationToken,
    pub(super) desk: Arc<Desk>,
    mirrors: Mirrors,
}

pub(super) type Parameters = Query<Vec<(String, String)>>;

pub(super) fn pairs(parameters: &[(String, String)]) -> impl Iterator<Item = (&str, &str)> {
    parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()))
}

/// All routes. `guard` says which addresses are in no answer.
pub fn router(
    caches: Caches,
    reviews: Arc<Reviews>,
    guard: Arc<AddressGuard>,
    mirrors: Mirrors,
    stop: CancellationToken,
) -> Router {
    let registry =
        Registry { caches, reviews, streams: Arc::default(), stop, desk: Arc::new(Desk::new(guard)), mirrors };
    Router::new()
        .route("/registry/v1/services", get(services))
        .route("/registry/v1/services/{namespace}/{name}", get(service))
        .route("/registry/v1/watch", get(stream::services))
        .route("/registry/v1/query", get(answers::ask))
        .route("/registry/v1/queries", get(answers::list))
        .route("/registry/v1/queries/{namespace}/{name}", get(answers::one))
        .route("/registry/v1/watch/queries", get(stream::answers))
        .route(MIRRORS, get(show_mirrors))
        .route("/registry/fhir/metadata", get(metadata))
        .route("/registry/fhir/Endpoint", get(endpoints))
        .route("/registry/fhir/Endpoint/{id}", get(endpoint))
        .fallback(|| async { Refusal::from(Problem::not_found("such path")) })
        .with_state(registry)
}

impl Registry {
    /// Whoever asks, if they may; and only once everything is known.
    pub(super) async fn admit(&self, headers: &HeaderMap, deed: &Deed) -> Result<(), Problem> {
        allowed(&self.reviews, token(headers), deed).await?;
        self.known()
    }

    pub(super) fn known(&self) -> Result<(), Problem> {
        if self.caches.is_ready() { Ok(()) } else { Err(Problem::unavailable("the services are not known yet")) }
    }

    /// The records of services of these names, made one by one as they are asked for.
    pub(super) fn records(&self, covers: impl Fn(&Key) -> bool) -> impl Iterator<Item = Record> {
        let keys = self.caches.services.keys();
        keys.into_iter().filter(move |key| covers(key)).filter_map(|key| self.caches.record(&key))
    }
}

pub(super) fn list(namespace: Option<&String>) -> Deed {
    Deed::Objects { kind: Kind::Service, verb: "list", namespace: namespace.cloned(), name: None }
}

async fn services(
    State(registry): State<Registry>,
    headers: HeaderMap,
    Query(parameters): Parameters,
) -> Result<Json<Value>, Refusal> {
    let filter = Filter::parse(pairs(&parameters), true)?;
    registry.admit(&headers, &list(filter.namespace.as_ref())).await?;
    let (page, more) = filter.page(registry.records(|key| filter.covers(key)));
    let mut answer = json!({"services": page});
    if let Some(last) = page.last().filter(|_| more) {
        answer["after"] = json!(last.key().to_string());
    }
    Ok(Json(answer))
}

async fn service(
    State(registry): State<Registry>,
    headers: HeaderMap,
    Path((namespace, name)): Path<(String, String)>,
) -> Result<Json<Record>, Refusal> {
    let key = Key::new(namespace.clone(), name.clone());
    registry
        .admit(
            &headers,
            &Deed::Objects { kind: Kind::Service, verb: "get", namespace: Some(namespace), name: Some(name) },
        )
        .await?;
    Ok(Json(registry.caches.record(&key).ok_or_else(|| Problem::not_found("service of this name"))?))
}

async fn show_mirrors(State(registry): State<Registry>, headers: HeaderMap) -> Result<Json<Value>, Refusal> {
    allowed(&registry.reviews, token(&headers), &Deed::Path(MIRRORS)).await?;
    Ok(Json((registry.mirrors)()))
}

/// Where the client believes to be, so that links lead there again.
fn base(headers: &HeaderMap) -> String {
    let host = headers.get(header::HOST).and_then(|h| h.to_str().ok()).unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-:[]".contains(c);
    let host = if !host.is_empty() && host.len() <= 255 && host.chars().all(plain) { host } else { "localhost" };
    format!("https://{host}/registry/fhir")
}

fn fhir_answer(resource: &Value) -> Response {
    ([(header::CONTENT_TYPE, fhir::MEDIA_TYPE)], resource.to_string()).into_response()
}

fn as_fhir(problem: Problem) -> Refusal {
    Refusal { problem, fhir: true }
}

/// Open to everybody, as FHIR has it: it tells nothing of the cluster.
async fn metadata(headers: HeaderMap) -> Response {
    fhir_answer(&fhir::capabilities(&base(&headers), env!("CARGO_PKG_VERSION")))
}

async fn endpoints(
    State(registry): State<Registry>,
    headers: HeaderMap,
    Query(parameters): Parameters,
) -> Result<Response, Refusal> {
    let search = fhir::Search::parse(pairs(&parameters)).map_err(as_fhir)?;
    registry.admit(&headers, &list(search.namespace.as_ref())).await.map_err(as_fhir)?;
    let asked: Vec<_> = parameters.iter().filter(|(name, _)| name != "_after").collect();
    let query = in_url(&asked);
    let records = registry.records(|key| search.covers(key));
    Ok(fhir_answer(&search.bundle(records, &base(&headers), &query)))
}

async fn endpoint(
    State(registry): State<Registry>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    // before anything is looked for
    known(&registry.reviews, token(&headers)).await.map_err(as_fhir)?;
    let found = registry.known().map(|()| fhir::by_id(registry.records(|_| true), &id)).map_err(as_fhir)?;
    // who may not see it is not told whether it is there
    let deed = match &found {
        Some((key, _)) => {
            let (namespace, name) = (Some(key.namespace.clone()), Some(key.name.clone()));
            Deed::Objects { kind: Kind::Service, verb: "get", namespace, name }
        }
        None => list(None),
    };
    registry.admit(&headers, &deed).await.map_err(|problem| {
        let hidden = Problem::forbidden("get medicalservices.medley.health of its namespace");
        as_fhir(if problem.status == 403 { hidden } else { problem })
    })?;
    let (_, resource) = found.ok_or_else(|| as_fhir(Problem::not_found("Endpoint of this id")))?;
    Ok(fhir_answer(&resource))
}

/// Parameters as they stand in a URL.
fn in_url(parameters: &[&(String, String)]) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    let encoded = |text: &str| -> String {
        text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
    };
    let parts: Vec<String> = parameters.iter().map(|(n, v)| format!("{}={}", encoded(n), encoded(v))).collect();
    parts.join("&")
}

#[cfg(test)]
#[path = "registry_tests.rs"]
mod tests;
