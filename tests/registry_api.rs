//! Does the registry over HTTPS show services to whom Kubernetes says may see them? The shipped program with the chart's own permissions, on a
//! real control plane: tokens, roles and reviews are real.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

#[path = "cluster/support/mod.rs"]
mod support;

use std::time::Duration;

use futures::StreamExt;
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use support::{operator::Operator, stage::Stage, until};

const LIMIT: Duration = Duration::from_secs(30);

/// The registry, and who reads it.
struct Reader {
    client: Client,
    base: String,
    token: Option<String>,
}

impl Reader {
    async fn get(&self, path: &str) -> Response {
        let request = self.client.get(format!("{}{path}", self.base));
        let request = match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        request.send().await.unwrap()
    }

    /// What is answered, with its status.
    async fn read(&self, path: &str) -> (u16, Value) {
        let response = self.get(path).await;
        (response.status().as_u16(), serde_json::from_str(&response.text().await.unwrap()).unwrap())
    }

    async fn names(&self, path: &str) -> Vec<String> {
        let (status, answer) = self.read(path).await;
        assert_eq!(status, 200, "{answer}");
        answer["services"].as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap().to_owned()).collect()
    }
}

/// A stream of events.
struct Events {
    response: std::pin::Pin<Box<dyn futures::Stream<Item = Vec<u8>> + Send>>,
    text: String,
}

impl Events {
    async fn open(reader: &Reader, path: &str) -> Self {
        let response = reader.get(path).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response: Box::pin(response.bytes_stream().map(|b| b.unwrap().to_vec())), text: String::new() }
    }

    /// The next event with its data; comments are passed over.
    async fn next(&mut self) -> (String, Value) {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| event.lines().find_map(|l| l.strip_prefix(name)).map(|v| v.trim().to_owned());
                let (name, data) = (field("event:"), field("data:"));
                self.text = rest.to_owned();
                if let Some(name) = name {
                    return (name, serde_json::from_str(&data.unwrap()).unwrap());
                }
                continue;
            }
            let piece =
                tokio::time::timeout(LIMIT, self.response.next()).await.expect("an event").expect("the stream goes on");
            self.text.push_str(std::str::from_utf8(&piece).unwrap());
        }
    }

    /// The next event about a service of this name.
    async fn about(&mut self, name: &str) -> (String, Value) {
        loop {
            let (event, data) = self.next().await;
            if data["name"] == name {
                return (event, data);
            }
        }
    }
}

fn service(name: &str, protocol: &str) -> String {
    let service = json!({
        "apiVersion": "medley.health/v1alpha1", "kind": "MedicalService", "metadata": {"name": name},
        "spec": {"external": {"endpoints": [{"host": "192.0.2.1"}]}, "interfaces": [{"name": "main", "port": 104, "protocol": protocol}]}
    });
    service.to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a real control plane: make test-cluster"]
async fn the_registry_shows_services_to_whom_kubernetes_lets_see_them() {
    let stage = Stage::set().await;
    let (radiology, lab) = (stage.namespace("radiology"), stage.namespace("lab"));
    for (name, protocol) in [("pacs", "DICOM"), ("ris", "HL7v2"), ("ehr", "FHIR")] {
        stage.apply(&radiology, &service(name, protocol));
    }
    stage.apply(&lab, &service("lis", "HL7v2"));

    // what the chart grants where the registry is served
    let chart = format!("{}/charts/medley", env!("CARGO_MANIFEST_DIR"));
    let home = stage.home();
    let values = format!(
        "clusterWide=true,fullnameOverride={home}-one,leaderElection.leaseName={home},rbac.userRoles=false,registry.enabled=true,registry.tlsSecret=t"
    );
    let only = ["--show-only", "templates/rbac.yaml"];
    let arguments = [vec!["template", "one", &chart, "-n", home, "--set", &values], only.to_vec()].concat();
    stage.apply(home, &stage.cluster.helm(&arguments).unwrap());

    let files = stage.scratch().to_owned();
    let at = |name: &str| files.join(name).to_str().unwrap().to_owned();
    let certificate = || harness::certificates::write(&files.join("cert"), &files.join("key")).unwrap();
    let trusting = || {
        let authority = reqwest::Certificate::from_pem(&std::fs::read(at("cert")).unwrap()).unwrap();
        Client::builder().tls_certs_only([authority]).no_proxy().build().unwrap()
    };
    certificate();
    let variables = [
        ("MEDLEY_REGISTRY_LISTEN", "127.0.0.1:0".to_owned()),
        ("MEDLEY_REGISTRY_CERT_FILE", at("cert")),
        ("MEDLEY_REGISTRY_KEY_FILE", at("key")),
    ];
    let operator = Operator::start_with(&stage, "one", &variables).await;
    let address = operator.said("serving the registry")[0]["fields"]["address"].as_str().unwrap().to_owned();
    let client = trusting();

    // who reads: of all namespaces, of one, of none
    let role = |kind: &str, name: &str| {
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": name}, "rules": [
            {"apiGroups": ["medley.health"], "resources": ["medicalservices"], "verbs": ["get", "list", "watch"]},
        ]})
    };
    let binding = |kind: &str, role: &str, name: &str, user: &str| {
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role, "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": user, "namespace": home}]})
    };
    let all = format!("{home}-reader");
    let mut wide = role("ClusterRole", &all);
    wide["rules"].as_array_mut().unwrap().push(json!({"nonResourceURLs": ["/registry/v1/mirrors"], "verbs": ["get"]}));
    stage.apply(home, &wide.to_string());
    stage.apply(home, &binding("ClusterRoleBinding", "ClusterRole", &all, "all").to_string());
    let mut narrow = role("Role", "reader");
    narrow["rules"][0]["resources"].as_array_mut().unwrap().push(json!("servicequeries"));
    stage.apply(&radiology, &narrow.to_string());
    stage.apply(&radiology, &binding("RoleBinding", "Role", "reader", "one").to_string());
    let reader = |user: &str, audience: Option<&str>| {
        let mut arguments = vec!["create", "token", user, "-n", home];
        arguments.extend(audience.iter().flat_map(|a| ["--audience", a]));
        let token = Some(stage.kubectl(&arguments).trim().to_owned());
        Reader { client: client.clone(), base: format!("https://{address}"), token }
    };
    for user in ["all", "one", "none"] {
        stage.kubectl(&["create", "serviceaccount", user, "-n", home]);
    }
    let everything = reader("all", Some("medley.health"));
    let one = reader("one", Some("medley.health"));
    let none = reader("none", Some("medley.health"));
    let nobody = Reader { token: None, client: client.clone(), base: everything.base.clone() };
    let garbage = Reader { token: Some("garbage".to_owned()), client: client.clone(), base: everything.base.clone() };
    let of_the_cluster = reader("all", None);

    // a role takes effect a moment after it was made
    until("the reader of all may list", LIMIT, async || {
        (everything.get("/registry/v1/services").await.status() == 200).then_some(())
    })
    .await;

    // nobody, and who is nobody here
    for (who, reader) in [("no token", &nobody), ("garbage", &garbage), ("a token for the API server", &of_the_cluster)]
    {
        for path in [
            "/registry/v1/services",
            "/registry/v1/watch",
            "/registry/fhir/Endpoint",
            "/registry/v1/mirrors",
            "/registry/fhir/Endpoint/x",
        ] {
            let response = reader.get(path).await;
            assert_eq!(response.status(), 401, "{who}: {path}");
            assert_eq!(response.headers()["www-authenticate"], "Bearer", "{who}: {path}");
        }
    }
    let (_, problem) = nobody.read("/registry/v1/services").await;
    assert_eq!(problem["field"], "Authorization");
    assert!(problem["detail"].as_str().unwrap().contains("kubectl create token"), "{problem}");

    // who may not
    for path in [
        "/registry/v1/services",
        "/registry/v1/services?namespace=kube-system",
        "/registry/v1/watch",
        "/registry/v1/mirrors",
    ] {
        let (status, problem) = one.read(path).await;
        assert_eq!(status, 403, "{path}");
        assert!(problem["detail"].as_str().unwrap().contains("bind a role"), "{problem}");
    }
    let hidden = none.read(&format!("/registry/v1/services/{radiology}/pacs")).await;
    assert_eq!(hidden, none.read(&format!("/registry/v1/services/{radiology}/no-such")).await);
    assert_eq!(hidden.0, 403);
    let id = format!("/registry/fhir/Endpoint/{}", medley::core::name::child(&[&radiology, "pacs", "main"]));
    assert_eq!(none.read(&id).await, none.read("/registry/fhir/Endpoint/no-such").await);
    assert_eq!(none.read(&id).await.0, 403);

    // who may
    let of_radiology = format!("/registry/v1/services?namespace={radiology}");
    assert_eq!(one.names(&of_radiology).await, ["ehr", "pacs", "ris"]);
    assert_eq!(one.names(&format!("{of_radiology}&protocol=FHIR")).await, ["ehr"]);
    let page = one.read(&format!("{of_radiology}&limit=2")).await.1;
    assert_eq!(page["after"], format!("{radiology}/pacs"));
    assert_eq!(one.names(&format!("{of_radiology}&after={radiology}/pacs")).await, ["ris"]);
    let mut both = everything.names("/registry/v1/services?protocol=HL7v2").await;
    both.sort();
    assert_eq!(both, ["lis", "ris"]);
    let (status, pacs) = one.read(&format!("/registry/v1/services/{radiology}/pacs")).await;
    assert_eq!((status, &pacs["interfaces"][0]["protocol"]), (200, &json!("DICOM")), "{pacs}");
    assert_eq!(one.read(&format!("/registry/v1/services/{radiology}/no-such")).await.0, 404);
    let (status, problem) = everything.read("/registry/v1/services?ready=yes").await;
    assert_eq!((status, &problem["field"]), (400, &json!("ready")));
    assert_eq!(everything.read("/registry/v1/mirrors").await, (200, json!({"mirrors": []})));
    assert_eq!(everything.read("/registry/v2").await.0, 404);

    // FHIR
    let (status, bundle) =
        one.read(&format!("/registry/fhir/Endpoint?namespace={radiology}&connection-type=hl7-fhir-rest")).await;
    assert_eq!((status, &bundle["total"]), (200, &json!(1)), "{bundle}");
    assert_eq!(bundle["entry"][0]["resource"]["name"], format!("{radiology}/ehr/main"));
    assert!(
        bundle["entry"][0]["fullUrl"]
            .as_str()
            .unwrap()
            .starts_with(&format!("https://{address}/registry/fhir/Endpoint/"))
    );
    assert_eq!(one.read(&id).await.1["connectionType"]["code"], "dicom-dimse");
    let (status, outcome) = one.read("/registry/fhir/Endpoint").await;
    assert_eq!((status, &outcome["resourceType"]), (403, &json!("OperationOutcome")));
    assert_eq!(everything.read("/registry/fhir/Endpoint").await.1["total"], json!(4));
    assert_eq!(nobody.read("/registry/fhir/metadata").await.1["fhirVersion"], "4.0.1");

    // changes
    let mut events = Events::open(&one, &format!("/registry/v1/watch?namespace={radiology}")).await;
    let mut names = Vec::new();
    loop {
        let (event, data) = events.next().await;
        if event == "synced" {
            break;
        }
        assert_eq!(event, "set");
        names.push(data["name"].as_str().unwrap().to_owned());
    }
    assert_eq!(&names[..3], ["ehr", "pacs", "ris"]);
    stage.apply(&lab, &service("hidden", "FHIR"));
    stage.apply(&radiology, &service("reader", "HTTP"));
    assert_eq!(events.about("reader").await.0, "set");
    stage.kubectl(&["delete", "msvc", "pacs", "-n", &radiology]);
    loop {
        let (event, data) = events.about("pacs").await;
        if event == "delete" {
            assert_eq!(data, json!({"namespace": radiology, "name": "pacs"}));
            break;
        }
    }

    answers(&stage, &radiology, &one, &everything).await;

    // those that say nothing keep nobody out, and a new certificate is taken in without a restart
    let silent: Vec<_> = (0..100).map(|_| std::net::TcpStream::connect(&address).unwrap()).collect();
    assert_eq!(one.names(&of_radiology).await, ["ehr", "reader", "ris", "triage"]);
    drop(silent);
    certificate();
    let renewed = Reader { client: trusting(), base: one.base.clone(), token: one.token.clone() };
    until("the new certificate is in use", LIMIT, async || {
        let answer = renewed.client.get(format!("{}/registry/fhir/metadata", renewed.base)).send().await;
        answer.is_ok().then_some(())
    })
    .await;
    assert_eq!(renewed.names(&of_radiology).await, ["ehr", "reader", "ris", "triage"]);
    let one = renewed;

    // a right that is withdrawn ends, and nothing but the two reviews was asked of the cluster for it
    stage.kubectl(&["delete", "rolebinding", "reader", "-n", &radiology]);
    until("the right ends", LIMIT, async || (one.get(&of_radiology).await.status() == 403).then_some(())).await;
    let reviews = operator.metric("medley_api_calls_total{verb=\"create\",kind=\"TokenReview\",outcome=\"ok\"}").await;
    assert!((1.0..40.0).contains(&reviews), "answers are kept for a while: {reviews}");
    assert!(operator.stop().await.success(), "open streams hold nobody up");
    stage.remove_namespace(&radiology);
    stage.remove_namespace(&lab);
}

/// Who can do this now: the answer to a query as the cluster knows it, as it changes, and to a question that nobody has stored.
/// `one` may see services and queries of the namespace, `services_only` the services of all.
async fn answers(stage: &Stage, space: &str, one: &Reader, services_only: &Reader) {
    let mut events = Events::open(one, &format!("/registry/v1/watch/queries?namespace={space}")).await;
    assert_eq!(events.next().await.0, "synced", "there is no query yet");
    let query = json!({"apiVersion": "medley.health/v1alpha1", "kind": "ServiceQuery", "metadata": {"name": "ct-triage"},
        "spec": {"capability": "ct", "protocol": "HTTP", "port": 80}});
    stage.apply(space, &query.to_string());
    let path = format!("/registry/v1/queries/{space}/ct-triage");
    let empty = until("the query is answered", LIMIT, async || {
        let (_, reply) = one.read(&path).await;
        (reply["empty"] == "NoMatch").then_some(reply)
    })
    .await;
    assert_eq!((&empty["current"], &empty["matches"]), (&json!(true), &json!([])), "{empty}");
    let excluded = empty["excluded"].as_array().unwrap();
    assert!(
        excluded.contains(&json!({"service": "ehr", "reason": "Interface"}))
            || excluded.contains(&json!({"service": "ehr", "reason": "Capability"})),
        "{empty}"
    );

    let triage = json!({"apiVersion": "medley.health/v1alpha1", "kind": "MedicalService", "metadata": {"name": "triage"},
        "spec": {"workload": {"image": "fake", "replicas": 1}, "capabilities": ["ct"],
            "interfaces": [{"name": "http", "port": 80, "protocol": "HTTP"}]}});
    stage.apply(space, &triage.to_string());
    let found = loop {
        let (event, reply) = events.about("ct-triage").await;
        assert_eq!(event, "set");
        if reply["matches"].as_array().is_some_and(|m| !m.is_empty()) {
            break reply;
        }
    };
    assert_eq!((&found["matches"][0]["service"], &found["matches"][0]["probability"]), (&json!("triage"), &json!(100)));
    assert_eq!(found["dnsName"], format!("ct-triage.{space}.svc.cluster.local"));
    let (_, page) = one.read(&format!("/registry/v1/queries?namespace={space}")).await;
    assert_eq!(page["queries"][0]["matches"], found["matches"]);

    // the same question without an object, by the right to list services
    let question = format!("/registry/v1/query?namespace={space}&protocol=HTTP&where='ct'%20in%20service.capabilities");
    for reader in [one, services_only] {
        let (status, reply) = reader.read(&question).await;
        assert_eq!((status, &reply["matches"]), (200, &found["matches"]), "{reply}");
    }
    assert_eq!(one.read("/registry/v1/query?namespace=kube-system&protocol=HTTP").await.0, 403);
    let (status, problem) = one.read(&format!("/registry/v1/query?namespace={space}&protocol=HTTP&where=1%2B")).await;
    assert_eq!((status, &problem["field"]), (400, &json!("where")), "{problem}");
    // services alone are no right to queries
    for path in [
        path.clone(),
        format!("/registry/v1/queries?namespace={space}"),
        format!("/registry/v1/watch/queries?namespace={space}"),
    ] {
        let (status, problem) = services_only.read(&path).await;
        assert_eq!(status, 403, "{path}");
        assert!(problem["detail"].as_str().unwrap().contains("servicequeries.medley.health"), "{problem}");
    }
    assert_eq!(one.read(&format!("/registry/v1/queries/{space}/no-such")).await.0, 404);

    stage.kubectl(&["delete", "mq", "ct-triage", "-n", space]);
    while events.about("ct-triage").await.0 != "delete" {}
}
