//! What must every API server do that medley runs on? Cases that hold for the simulated server and for a real one.
//!
//! Each case is an async function over a [`Lab`]: a client and a namespace of its own. The test
//! `conformance_simulated` runs them in process, `conformance_real` on a control plane.

mod applying;
mod builtin;
mod deleting;
mod probe;
mod schema;
mod watching;
mod writing;

pub use probe::{install, uninstall};

use anyhow::{Context, bail, ensure};
use futures::{AsyncBufReadExt, StreamExt, future::BoxFuture};
use http::Request;
use kube::{Client, core::Status};
use serde_json::{Value, json};
use std::time::Duration;

/// One case.
pub struct Case {
    /// What holds, as a sentence.
    pub name: &'static str,
    /// Runs it; an error says what did not hold.
    pub run: fn(Lab) -> BoxFuture<'static, anyhow::Result<()>>,
}

macro_rules! list_cases {
    ($($name:ident),* $(,)?) => {
        pub(super) fn all() -> Vec<$crate::conformance::Case> {
            vec![$($crate::conformance::Case { name: stringify!($name), run: |lab| Box::pin($name(lab)) }),*]
        }
    };
}
use list_cases;

/// All cases.
#[must_use]
pub fn cases() -> Vec<Case> {
    [writing::all(), applying::all(), builtin::all(), deleting::all(), watching::all(), schema::all()]
        .into_iter()
        .flatten()
        .collect()
}

/// Where a case works.
#[derive(Clone)]
pub struct Lab {
    /// The server under test.
    pub client: Client,
    /// A namespace that no other case uses.
    pub namespace: String,
}

/// What the server answered: an object, or its refusal.
type Answer = Result<Value, Box<Status>>;

impl Lab {
    /// Address of a kind of ours or of a built-in one, by plural name.
    fn url(&self, plural: &str) -> String {
        let prefix = match plural {
            "pods" | "services" | "configmaps" => "/api/v1".to_owned(),
            "deployments" | "controllerrevisions" => "/apis/apps/v1".to_owned(),
            "leases" => "/apis/coordination.k8s.io/v1".to_owned(),
            "endpointslices" => "/apis/discovery.k8s.io/v1".to_owned(),
            "poddisruptionbudgets" => "/apis/policy/v1".to_owned(),
            _ => format!("/apis/{}/v1", probe::GROUP),
        };
        format!("{prefix}/namespaces/{}/{plural}", self.namespace)
    }

    async fn call(&self, method: &str, url: &str, content_type: &str, body: Option<&Value>) -> Answer {
        let bytes = body.map(|b| b.to_string().into_bytes()).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(url)
            .header("content-type", content_type)
            .header("user-agent", "conformance/1")
            .body(bytes);
        let failed = |message: String| Box::new(Status::failure(&message, "NoAnswer"));
        let request = request.map_err(|e| failed(e.to_string()))?;
        match self.client.request::<Value>(request).await {
            Ok(value) => Ok(value),
            Err(kube::Error::Api(status)) => Err(status),
            Err(other) => Err(failed(other.to_string())),
        }
    }

    async fn create(&self, plural: &str, body: &Value) -> Answer {
        self.call("POST", &self.url(plural), "application/json", Some(body)).await
    }

    async fn get(&self, plural: &str, name: &str) -> Answer {
        self.call("GET", &format!("{}/{name}", self.url(plural)), "application/json", None).await
    }

    async fn list(&self, plural: &str, query: &str) -> Answer {
        self.call("GET", &format!("{}?{query}", self.url(plural)), "application/json", None).await
    }

    /// `target` is a name, or `name/status`.
    async fn put(&self, plural: &str, target: &str, body: &Value) -> Answer {
        self.call("PUT", &format!("{}/{target}", self.url(plural)), "application/json", Some(body)).await
    }

    async fn merge(&self, plural: &str, target: &str, patch: &Value) -> Answer {
        self.call("PATCH", &format!("{}/{target}", self.url(plural)), "application/merge-patch+json", Some(patch)).await
    }

    async fn json_patch(&self, plural: &str, target: &str, patch: &Value) -> Answer {
        self.call("PATCH", &format!("{}/{target}", self.url(plural)), "application/json-patch+json", Some(patch)).await
    }

    /// Server-side apply without force.
    async fn apply(&self, manager: &str, plural: &str, target: &str, body: &Value) -> Answer {
        let url = format!("{}/{target}?fieldManager={manager}", self.url(plural));
        self.call("PATCH", &url, "application/apply-patch+yaml", Some(body)).await
    }

    async fn force(&self, manager: &str, plural: &str, target: &str, body: &Value) -> Answer {
        let url = format!("{}/{target}?fieldManager={manager}&force=true", self.url(plural));
        self.call("PATCH", &url, "application/apply-patch+yaml", Some(body)).await
    }

    async fn delete(&self, plural: &str, name: &str, options: &Value) -> Answer {
        self.call("DELETE", &format!("{}/{name}", self.url(plural)), "application/json", Some(options)).await
    }

    /// The events of a watch, until `wanted` came that are not bookmarks (unless `bookmarks`), or it ended.
    async fn watch(
        &self,
        plural: &str,
        query: &str,
        wanted: usize,
        bookmarks: bool,
    ) -> anyhow::Result<Vec<(String, Value)>> {
        let url = format!("{}?watch=true&{query}", self.url(plural));
        let request = Request::get(url).header("accept-encoding", "identity").body(Vec::new())?;
        let mut lines = self.client.request_stream(request).await?.lines();
        let mut events = Vec::new();
        while events.len() < wanted {
            let next = tokio::time::timeout(Duration::from_secs(30), lines.next()).await;
            let Some(line) = next.with_context(|| format!("no further watch event within 30 s after {events:?}"))?
            else {
                break;
            };
            let mut event: Value = serde_json::from_str(&line?)?;
            let kind = event["type"].as_str().unwrap_or_default().to_owned();
            if bookmarks || kind != "BOOKMARK" {
                events.push((kind, event["object"].take()));
            }
        }
        Ok(events)
    }

    /// Waits until `holds` is true of the object (null when it is not there); at most 90 s.
    async fn until(
        &self,
        plural: &str,
        name: &str,
        what: &str,
        holds: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(90);
        loop {
            let object = match self.get(plural, name).await {
                Ok(object) => object,
                Err(status) if status.code == 404 => Value::Null,
                Err(status) => bail!("{plural} {name}: {status}"),
            };
            if holds(&object) {
                return Ok(object);
            }
            ensure!(tokio::time::Instant::now() < deadline, "{plural} {name}: not {what} within 90 s: {object}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// The object that was answered.
fn ok(answer: Answer) -> anyhow::Result<Value> {
    answer.map_err(|status| anyhow::anyhow!("refused: {} {}: {}", status.code, status.reason, status.message))
}

/// The refusal, which must have this code and reason.
fn refused(answer: Answer, code: u16, reason: &str) -> anyhow::Result<Box<Status>> {
    match answer {
        Ok(object) => bail!("accepted, though {code} {reason} was due: {object}"),
        Err(status) => {
            ensure!(
                status.code == code && status.reason == reason,
                "{code} {reason} was due, not {} {}: {}",
                status.code,
                status.reason,
                status.message
            );
            Ok(status)
        }
    }
}

/// (field, message) of each cause of a refusal, sorted.
fn causes(status: &Status) -> Vec<(String, String)> {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let mut causes: Vec<_> = causes.map(|c| (c.field.clone(), c.message.clone())).collect();
    causes.sort();
    causes
}

fn version(object: &Value) -> &str {
    object["metadata"]["resourceVersion"].as_str().unwrap_or_default()
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, wanted: &T) -> anyhow::Result<()> {
    ensure!(found == wanted, "{what}: found {found:?}, wanted {wanted:?}");
    Ok(())
}

fn named(api_version: &str, kind: &str, name: &str, rest: Value) -> Value {
    let mut object = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}});
    merge_into(&mut object, rest);
    object
}

fn merge_into(target: &mut Value, from: Value) {
    match (target, from) {
        (Value::Object(target), Value::Object(from)) => {
            for (key, value) in from {
                merge_into(target.entry(key).or_insert(Value::Null), value);
            }
        }
        (target, from) => *target = from,
    }
}
