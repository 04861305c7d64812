//! What the fake profile promises: objects go through their lives as on a real cluster, without anything running.

#![allow(clippy::unwrap_used)] // helpers of tests, outside any #[test] function

use std::time::{Duration, Instant};

use harness::cluster::{Cluster, Profile};

fn cluster() -> Cluster {
    let cluster = Cluster::from_env().unwrap();
    assert_eq!(cluster.profile(), Profile::Fake, "run these through `cluster run fake`");
    cluster
}

/// A namespace of this test's own, gone with it.
struct Namespace<'a>(&'a Cluster, String);

impl<'a> Namespace<'a> {
    fn new(cluster: &'a Cluster, test: &str) -> Self {
        let name = format!("{test}-{}", std::process::id());
        cluster.kubectl(&["create", "namespace", &name]).unwrap();
        // pods are refused before it is there
        cluster.kubectl(&["wait", "-n", &name, "--for=create", "serviceaccount/default", "--timeout=30s"]).unwrap();
        Self(cluster, name)
    }

    fn kubectl(&self, arguments: &[&str]) -> String {
        self.0.kubectl(&[&["-n", &self.1], arguments].concat()).unwrap()
    }

    fn apply(&self, manifest: &str) {
        self.0.kubectl_with_input(&["-n", &self.1, "apply", "-f", "-"], manifest).unwrap();
    }
}

impl Drop for Namespace<'_> {
    fn drop(&mut self) {
        let _ = self.0.kubectl(&["delete", "namespace", &self.1, "--wait=false"]);
    }
}

#[test]
#[ignore = "needs a control plane: run through `cluster run fake`"]
fn a_deployment_rolls_out() {
    let cluster = cluster();
    let space = Namespace::new(&cluster, "rollout");
    space.apply(
        "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 5
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: fake}]}
",
    );
    space.kubectl(&["rollout", "status", "deployment/web", "--timeout=30s"]);
    assert_eq!(space.kubectl(&["get", "deployment/web", "-o", "jsonpath={.status.availableReplicas}"]), "5");
    space.kubectl(&["delete", "deployment/web"]);
    space.kubectl(&["wait", "--for=delete", "pod", "-l", "app=web", "--timeout=30s"]);
}

#[test]
#[ignore = "needs a control plane: run through `cluster run fake`"]
fn a_job_completes() {
    let cluster = cluster();
    let space = Namespace::new(&cluster, "job");
    space.apply(
        "
apiVersion: batch/v1
kind: Job
metadata: {name: ok}
spec:
  template:
    spec: {restartPolicy: Never, containers: [{name: c, image: fake}]}
",
    );
    space.kubectl(&["wait", "--for=condition=Complete", "job/ok", "--timeout=30s"]);
}

#[test]
#[ignore = "needs a control plane: run through `cluster run fake`"]
fn a_pod_ends_as_its_annotations_say() {
    let cluster = cluster();
    let space = Namespace::new(&cluster, "pods");
    let pod = |name: &str, annotations: &str| {
        space.apply(&format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, annotations: {{{annotations}}}}}, spec: {{restartPolicy: Never, containers: [{{name: c, image: fake}}]}}}}"
        ));
    };
    pod("stays", "fake.local/exit: never");
    pod("fails", "fake.local/exit: '3', fake.local/after: 10ms, fake.local/message: out of film");
    pod("later", "fake.local/after: 1h");
    let phase = |name: &str, phase: &str| {
        space.kubectl(&[
            "wait",
            &format!("--for=jsonpath={{.status.phase}}={phase}"),
            &format!("pod/{name}"),
            "--timeout=30s",
        ]);
    };
    phase("fails", "Failed");
    let ended = "jsonpath={.status.containerStatuses[0].state.terminated['exitCode','message']}";
    assert_eq!(space.kubectl(&["get", "pod/fails", "-o", ended]), "3 out of film");
    // an ordinary one, made after them, ends while they go on
    pod("ends", "");
    phase("ends", "Succeeded");
    phase("stays", "Running");
    phase("later", "Running");
}

#[test]
#[ignore = "needs a control plane: run through `cluster run fake`"]
fn the_audit_log_tells_who_asked_for_what() {
    let cluster = cluster();
    let space = Namespace::new(&cluster, "audit");
    space.apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: noted}}");
    let end = Instant::now() + Duration::from_secs(10);
    let event = loop {
        let events = cluster.audit().unwrap();
        let noted = events.into_iter().find(|event| {
            event.object_ref.as_ref().is_some_and(|object| object.namespace == space.1 && object.name == "noted")
                && event.is_write()
        });
        if let Some(event) = noted {
            break event;
        }
        assert!(Instant::now() < end, "the request does not appear in {}", cluster.audit_log().display());
        std::thread::sleep(Duration::from_millis(50));
    };
    assert_eq!((event.username(), event.stage.as_str()), ("admin", "ResponseComplete"));
    assert!(event.uri.starts_with(&format!("/api/v1/namespaces/{}/configmaps", space.1)), "{}", event.uri);
    assert!((200..300).contains(&event.code()));
}

#[tokio::test]
#[ignore = "needs a control plane: run through `cluster run fake`"]
async fn a_client_of_the_administrator_may_do_anything() {
    let client = cluster().client().await.unwrap();
    let nodes: kube::Api<k8s_openapi::api::core::v1::Node> = kube::Api::all(client);
    assert!(!nodes.list(&Default::default()).await.unwrap().items.is_empty());
}

#[test]
#[ignore = "needs a control plane: run through `cluster run fake`"]
fn helm_and_kubectl_know_the_cluster() {
    let cluster = cluster();
    assert!(cluster.helm(&["list", "--all-namespaces"]).unwrap().starts_with("NAME"));
    assert!(cluster.kubectl(&["version"]).unwrap().contains("Server Version: v1.36."));
    let refusal = cluster.import_image(std::path::Path::new("/bin/sh")).unwrap_err();
    assert!(format!("{refusal:#}").contains("fake profile"), "{refusal:#}");
}
