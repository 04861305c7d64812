//! The real API server: installs the kinds, writes objects, and tells what the server said.

use http::{Method, Request};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client,
    client::Body,
    runtime::wait::{await_condition, conditions},
};
use medley::api::{GROUP, VERSION, schema::crds};
use serde_json::{Value, json};
use std::time::Duration;

use super::table::{Cause, Write};

/// How long the server may take to serve kinds that have just been installed.
const DEADLINE: Duration = Duration::from_secs(30);

/// Label of what this test makes in the cluster: nothing else is removed.
const LABEL: &str = "medley.health/schema-test";

/// The server's side of one kind, in a namespace of its own.
pub(crate) struct Server {
    client: Client,
    kind: String,
    plural: String,
    namespace: String,
    /// Objects of the cluster bear the namespace's name as a label.
    of_cluster: bool,
}

/// What the server says to a write: the object when it was accepted, the causes when it was refused.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) object: Value,
    pub(crate) causes: Vec<Cause>,
    pub(crate) warnings: Vec<String>,
}

impl Server {
    /// Connects, installs all kinds and makes a namespace.
    pub(crate) async fn connect(plural: &str) -> Self {
        // Another test of this program may have set it.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = Client::try_default().await.unwrap();
        for crd in crds() {
            install(&client, &crd).await;
        }
        let namespace = json!({ "metadata": { "generateName": "schema-" } });
        let made = send(&client, Method::POST, "/api/v1/namespaces", Some(&namespace), "application/json").await.object;
        let namespace = made["metadata"]["name"].as_str().unwrap().to_owned();
        let crd = crds().into_iter().find(|c| c.spec.names.plural == plural).unwrap();
        let of_cluster = crd.spec.scope == "Cluster";
        Self { client, kind: crd.spec.names.kind, plural: plural.to_owned(), namespace, of_cluster }
    }

    pub(crate) fn kind(&self) -> &str {
        &self.kind
    }

    /// Creates an object as a strict client does, for real or only to hear the answer.
    pub(crate) async fn create(&self, object: &Value, dry: bool) -> Answer {
        let dry = if dry { "&dryRun=All" } else { "" };
        let path = format!("{}?fieldValidation=Strict{dry}", self.path());
        let mut object = object.clone();
        if self.of_cluster {
            object["metadata"]["labels"][LABEL] = self.namespace.clone().into();
        }
        send(&self.client, Method::POST, &path, Some(&object), "application/json").await
    }

    /// Replaces a stored object or its status.
    pub(crate) async fn replace(&self, object: &Value, write: Write) -> Answer {
        let part = if write == Write::Status { "/status" } else { "" };
        let path =
            format!("{}/{}{part}?fieldValidation=Strict", self.path(), object["metadata"]["name"].as_str().unwrap());
        send(&self.client, Method::PUT, &path, Some(object), "application/json").await
    }

    /// Removes the objects and the namespace.
    pub(crate) async fn leave(self) {
        let ours = if self.of_cluster { format!("?labelSelector={LABEL}={}", self.namespace) } else { String::new() };
        send(&self.client, Method::DELETE, &format!("{}{ours}", self.path()), None, "application/json").await;
        send(&self.client, Method::DELETE, &format!("/api/v1/namespaces/{}", self.namespace), None, "application/json")
            .await;
    }

    fn path(&self) -> String {
        if self.of_cluster {
            return format!("/apis/{GROUP}/{VERSION}/{}", self.plural);
        }
        format!("/apis/{GROUP}/{VERSION}/namespaces/{}/{}", self.namespace, self.plural)
    }
}

/// Applies a definition and waits until its kind is served. The server must have nothing to say against it.
async fn install(client: &Client, crd: &CustomResourceDefinition) {
    let name = crd.metadata.name.clone().unwrap();
    let mut body = serde_json::to_value(crd).unwrap();
    body["apiVersion"] = json!("apiextensions.k8s.io/v1");
    body["kind"] = json!("CustomResourceDefinition");
    let path = format!(
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}?fieldManager=schema-test&force=true&fieldValidation=Strict"
    );
    let answer = send(client, Method::PATCH, &path, Some(&body), "application/apply-patch+yaml").await;
    assert!(answer.causes.is_empty() && answer.warnings.is_empty(), "{name}: {answer:?}");
    let served = async {
        let api: Api<CustomResourceDefinition> = Api::all(client.clone());
        await_condition(api, &name, conditions::is_crd_established()).await.unwrap();
        // Established comes a moment before the path answers.
        let path = format!("/apis/{GROUP}/{VERSION}/{}?limit=1", crd.spec.names.plural);
        while !send(client, Method::GET, &path, None, "application/json").await.causes.is_empty() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(DEADLINE, served).await.unwrap_or_else(|_| panic!("{name} is not served after {DEADLINE:?}"));
}

/// Sends one request. A refusal without causes, such as that of an unknown field, is one cause without a field.
async fn send(client: &Client, method: Method, path: &str, body: Option<&Value>, content: &str) -> Answer {
    let body = body.map_or_else(Body::empty, |b| Body::from(serde_json::to_vec(b).unwrap()));
    let request = Request::builder().method(method).uri(path).header("content-type", content).body(body).unwrap();
    let response = client.send(request).await.unwrap();
    let warnings = response.headers().get_all("warning").iter().map(|w| w.to_str().unwrap().to_owned()).collect();
    let accepted = response.status().is_success();
    let bytes = response.into_body().collect_bytes().await.unwrap();
    let object: Value =
        serde_json::from_slice(&bytes).unwrap_or_else(|_| json!({ "message": String::from_utf8_lossy(&bytes) }));
    let causes = if accepted { Vec::new() } else { causes(&object) };
    Answer { object, causes, warnings }
}

fn causes(status: &Value) -> Vec<Cause> {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    match status["details"]["causes"].as_array() {
        Some(causes) if !causes.is_empty() => {
            let all = causes.iter().map(|c| Cause(text(&c["field"]), text(&c["message"])));
            // The server's note that it asked no rules, since the object has errors already.
            all.filter(|Cause(_, message)| !message.contains("some validation rules were not checked")).collect()
        }
        _ => vec![Cause(String::new(), text(&status["message"]))],
    }
}
