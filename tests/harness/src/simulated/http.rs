//! How does a request become an effect and an answer? The service behind the client: faults before, effect, faults after.

use super::{
    Shared,
    error::ApiError,
    faults::{Call, Fault},
    ledger::Record,
    list,
    route::{self, Query, Target, is_true},
    store::{State, Table},
    watch::Watch,
    write::{Patch, WriteOptions, Written},
};
use futures::{StreamExt, future::BoxFuture, stream};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Bytes;
use kube::client::Body;
use serde_json::{Value, json};
use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tower::BoxError;

type ReplyBody = UnsyncBoxBody<Bytes, std::io::Error>;

/// One user's connection.
#[derive(Clone)]
pub(super) struct Connection {
    pub(super) shared: Arc<Shared>,
    pub(super) user: String,
}

impl tower::Service<Request<Body>> for Connection {
    type Response = Response<ReplyBody>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let connection = self.clone();
        Box::pin(async move { connection.handle(request).await })
    }
}

/// A decoded request.
struct Asked {
    target: Target,
    query: Query,
    verb: &'static str,
    content_type: String,
    body: Bytes,
    manager: String,
    /// The caller wants metadata only.
    partial: bool,
}

enum Answer {
    Text(u16, Bytes, bool),
    Watch(Box<Watch>),
}

impl Connection {
    async fn handle(self, request: Request<Body>) -> Result<Response<ReplyBody>, BoxError> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let Some(target) = route::target(parts.uri.path()) else {
            return Ok(match super::discovery::answer(&self.shared.lock(), parts.uri.path()) {
                Some(found) => reply(200, Bytes::from(found.to_string()), None),
                None => no_such_page(),
            });
        };
        let header = |name: http::header::HeaderName| {
            parts.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned()
        };
        let query = route::query(parts.uri.query());
        let Some(verb) = route::verb(&parts.method, &target, &query) else {
            return Ok(refusal(&ApiError::new(
                405,
                "MethodNotAllowed",
                "the server does not allow this method on the requested resource",
            )));
        };
        let agent = header(http::header::USER_AGENT);
        let manager = match query.get("fieldManager").filter(|m| !m.is_empty()) {
            Some(manager) => manager.clone(),
            None if verb == "patch" && header(http::header::CONTENT_TYPE).starts_with("application/apply-patch") => {
                String::new()
            }
            None => agent.split('/').next().filter(|a| !a.is_empty()).unwrap_or(&self.user).to_owned(),
        };
        let partial = header(http::header::ACCEPT).contains("as=PartialObjectMetadata");
        let content_type = header(http::header::CONTENT_TYPE).split(';').next().unwrap_or_default().trim().to_owned();
        let asked = Asked { target, query, verb, content_type, body, manager, partial };
        self.run(asked).await
    }

    async fn run(self, mut asked: Asked) -> Result<Response<ReplyBody>, BoxError> {
        let (call, index) = self.shared.arrive(self.call_of(&asked));
        let mut after = Fault::None;
        match self.shared.fate(&call) {
            Fault::None => {}
            Fault::Respond { code, reason, retry_after } => {
                let mut error = ApiError::new(code, &reason, format!("{reason}: injected fault"));
                error.retry_after = retry_after.map(|d| d.as_secs() + u64::from(d.subsec_nanos() > 0));
                self.shared.finish(index, Some(code), false, true);
                return Ok(refusal(&error));
            }
            Fault::DropBefore => return Err(broken()),
            Fault::Delay(by) => tokio::time::sleep(by).await,
            Fault::Late(by) => return self.take_effect_late(asked, index, by).await,
            Fault::ListOld(versions) => self.ask_for_the_past(&mut asked, versions),
            Fault::Before(hook) => hook(),
            Fault::CrashBefore(hook) => {
                hook();
                return std::future::pending().await;
            }
            later => after = later,
        }
        let (code, changed, answer) = self.effect(&asked);
        self.shared.finish(index, Some(code), changed, false);
        self.shared.collect_garbage_soon();
        match after {
            Fault::LoseReplyAfterCommit => return Err(broken()),
            Fault::DelayReply(by) => tokio::time::sleep(by).await,
            Fault::After(hook) => hook(),
            Fault::CrashAfter(hook) => {
                hook();
                return std::future::pending().await;
            }
            _ => {}
        }
        self.shared.finish(index, Some(code), changed, true);
        Ok(answer)
    }

    async fn take_effect_late(self, asked: Asked, index: usize, by: Duration) -> Result<Response<ReplyBody>, BoxError> {
        let landed = tokio::spawn(async move {
            tokio::time::sleep(by).await;
            let (code, changed, answer) = self.effect(&asked);
            self.shared.finish(index, Some(code), changed, false);
            self.shared.collect_garbage_soon();
            answer
        });
        Ok(landed.await?)
    }

    /// Makes a list one of an exact version that lies in the past.
    fn ask_for_the_past(&self, asked: &mut Asked, versions: u64) {
        let state = self.shared.lock();
        if asked.verb == "list"
            && let Some(table) = state.find(&asked.target.group, &asked.target.resource)
        {
            let past = state.rv.saturating_sub(versions).max(state.tables[table].compacted);
            asked.query.insert("resourceVersion".to_owned(), past.to_string());
            asked.query.insert("resourceVersionMatch".to_owned(), "Exact".to_owned());
        }
    }

    fn call_of(&self, asked: &Asked) -> Call {
        let kind = {
            let state = self.shared.lock();
            state.find(&asked.target.group, &asked.target.resource).map(|t| state.tables[t].info.kind.clone())
        };
        let mut name = asked.target.name.clone();
        if name.is_empty() && asked.verb == "create" {
            let body: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
            name = body["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        }
        Call {
            n: 0,
            write_n: None,
            user: self.user.clone(),
            verb: asked.verb,
            group: asked.target.group.clone(),
            resource: asked.target.resource.clone(),
            kind: kind.unwrap_or_default(),
            namespace: asked.target.namespace.clone(),
            name,
            subresource: asked.target.subresource.clone(),
        }
    }

    fn effect(&self, asked: &Asked) -> (u16, bool, Response<ReplyBody>) {
        let mut state = self.shared.lock();
        let served = state.find(&asked.target.group, &asked.target.resource);
        let Some(table) = served.filter(|t| state.tables[*t].info.version == asked.target.version) else {
            return (404, false, no_such_page());
        };
        let answer = self.answer(&mut state, table, asked);
        drop(state);
        match answer {
            Ok(Answer::Text(code, text, changed)) => (code, changed, reply(code, text, None)),
            Ok(Answer::Watch(watch)) => (200, false, streamed(*watch)),
            Err(error) => (error.code, false, refusal(&error)),
        }
    }

    fn answer(&self, state: &mut State, table: usize, asked: &Asked) -> Result<Answer, ApiError> {
        let info = state.info(table);
        let (namespace, name) = (asked.target.namespace.as_str(), asked.target.name.as_str());
        let sub = asked.target.subresource.as_str();
        if !(sub.is_empty() || sub == "status" && info.has_status && matches!(asked.verb, "get" | "update" | "patch")) {
            return Err(ApiError::new(404, "NotFound", "the server could not find the requested resource"));
        }
        if info.namespaced && namespace.is_empty() && !matches!(asked.verb, "list" | "watch") {
            return Err(ApiError::bad_request(
                "an empty namespace may not be set during creation or for a named object",
            ));
        }
        match asked.verb {
            "get" => Ok(Answer::Text(200, list::shown(&*state.get(table, namespace, name)?, asked.partial), false)),
            "list" => Ok(Answer::Text(200, list::list(state, table, namespace, &asked.query, asked.partial)?, false)),
            "watch" => Ok(Answer::Watch(Box::new(Watch::open(
                &self.shared,
                state,
                table,
                namespace,
                &asked.query,
                asked.partial,
                &self.user,
            )?))),
            "create" => {
                let body = read_json(&asked.body)?;
                written(&state.create(table, namespace, body, &options(asked)?)?, asked)
            }
            "update" => {
                let body = read_json(&asked.body)?;
                written(&state.replace(table, namespace, name, body, &options(asked)?)?, asked)
            }
            "patch" => {
                let patch = read_patch(asked)?;
                written(&state.patch(table, namespace, name, patch, &options(asked)?)?, asked)
            }
            "delete" => {
                let deleted = state.delete(table, namespace, name, &delete_options(&asked.body)?)?;
                let shows_object = !deleted.gone
                    || matches!(info.kind.as_str(), "Pod" | "Service" | "ServiceAccount" | "PersistentVolumeClaim");
                let text = if shows_object {
                    list::shown(&deleted.object, asked.partial)
                } else {
                    let mut details = json!({"name": name, "kind": info.plural, "uid": deleted.object.meta("uid")});
                    if !info.group.is_empty() {
                        details["group"] = info.group.as_str().into();
                    }
                    Bytes::from(json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}).to_string())
                };
                Ok(Answer::Text(200, text, deleted.changed))
            }
            _ => delete_all(state, table, asked),
        }
    }
}

fn delete_all(state: &mut State, table: usize, asked: &Asked) -> Result<Answer, ApiError> {
    let options = delete_options(&asked.body)?;
    let selector = list::selector(state, table, &asked.query)?;
    let text = list::list(state, table, &asked.target.namespace, &asked.query, asked.partial)?;
    let chosen: Vec<(String, String)> = Table::range(&state.tables[table].objects, &asked.target.namespace, None)
        .filter(|(_, object)| selector.matches(&object.value))
        .map(|(_, object)| (object.meta("namespace").to_owned(), object.meta("name").to_owned()))
        .collect();
    let mut changed = false;
    for (namespace, name) in chosen {
        changed |= state.delete(table, &namespace, &name, &options)?.changed;
    }
    Ok(Answer::Text(200, text, changed))
}

fn options(asked: &Asked) -> Result<WriteOptions, ApiError> {
    if asked.manager.is_empty() {
        let mut error = ApiError::new(
            422,
            "Invalid",
            "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch",
        );
        let cause = json!({"reason": "FieldValueRequired", "message": "Required value: is required for apply patch", "field": "fieldManager"});
        error.details = Some(json!({"group": "meta.k8s.io", "kind": "PatchOptions", "causes": [cause]}));
        return Err(error);
    }
    Ok(WriteOptions {
        manager: asked.manager.clone(),
        dry_run: asked.query.get("dryRun").is_some_and(|d| d == "All"),
        force: is_true(&asked.query, "force"),
        subresource: asked.target.subresource.clone(),
    })
}

fn read_json(body: &Bytes) -> Result<Value, ApiError> {
    serde_json::from_slice(body).map_err(|e| ApiError::bad_request(format!("the object provided is unrecognized: {e}")))
}

fn read_patch(asked: &Asked) -> Result<Patch, ApiError> {
    let unreadable = |e: String| ApiError::bad_request(format!("error decoding patch: {e}"));
    let json = || serde_json::from_slice::<Value>(&asked.body).map_err(|e| unreadable(e.to_string()));
    match asked.content_type.as_str() {
        "application/merge-patch+json" => Ok(Patch::Merge(json()?)),
        "application/json-patch+json" => {
            serde_json::from_slice(&asked.body).map(Patch::Json).map_err(|e| unreadable(e.to_string()))
        }
        "application/apply-patch+yaml" => match json() {
            Ok(config) => Ok(Patch::Apply(config)),
            Err(_) => {
                let text = std::str::from_utf8(&asked.body).map_err(|e| unreadable(e.to_string()))?;
                serde_saphyr::from_str(text).map(Patch::Apply).map_err(|e| unreadable(e.to_string()))
            }
        },
        _ => {
            let accepted = "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";
            let message =
                format!("the body of the request was in an unknown format - accepted media types include: {accepted}");
            Err(ApiError::new(415, "UnsupportedMediaType", message))
        }
    }
}

fn delete_options(body: &Bytes) -> Result<Value, ApiError> {
    if body.is_empty() { Ok(Value::Null) } else { read_json(body) }
}

fn written(written: &Written, asked: &Asked) -> Result<Answer, ApiError> {
    let code = if written.created { 201 } else { 200 };
    Ok(Answer::Text(code, list::shown(&written.object, asked.partial), written.changed))
}

fn broken() -> BoxError {
    Box::new(std::io::Error::new(std::io::ErrorKind::ConnectionReset, "connection reset by the simulated server"))
}

fn reply(code: u16, text: Bytes, retry_after: Option<u64>) -> Response<ReplyBody> {
    let mut response = Response::new(Full::new(text).map_err(|never| match never {}).boxed_unsync());
    if let Ok(status) = http::StatusCode::from_u16(code) {
        *response.status_mut() = status;
    }
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(http::header::RETRY_AFTER, seconds.into());
    }
    response
}

fn refusal(error: &ApiError) -> Response<ReplyBody> {
    reply(error.code, Bytes::from(error.body().to_string()), error.retry_after)
}

fn no_such_page() -> Response<ReplyBody> {
    let mut response = reply(404, Bytes::from_static(b"404 page not found\n"), None);
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("text/plain"));
    response
}

fn streamed(watch: Watch) -> Response<ReplyBody> {
    let pieces = stream::unfold(watch, Watch::next).map(|piece| piece.map(Frame::data));
    let mut response = Response::new(StreamBody::new(pieces).boxed_unsync());
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    response
}

impl Shared {
    /// Numbers a call and writes it down. Returns it with its place in the ledger.
    fn arrive(&self, mut call: Call) -> (Call, usize) {
        let at = self.lock().clock.elapsed();
        let mut ledger = super::locked(&self.ledger);
        ledger.calls += 1;
        call.n = ledger.calls;
        if route::is_write(call.verb) {
            ledger.writes += 1;
            call.write_n = Some(ledger.writes);
        }
        ledger.records.push(Record { call: call.clone(), at, code: None, changed: false, replied: false });
        let index = ledger.records.len() - 1;
        (call, index)
    }

    fn finish(&self, index: usize, code: Option<u16>, changed: bool, replied: bool) {
        if let Some(record) = super::locked(&self.ledger).records.get_mut(index) {
            record.code = code;
            record.changed = changed;
            record.replied = replied;
        }
    }
}
