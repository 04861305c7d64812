//! A control plane with the kinds, the chart's priority classes, and a ServiceAccount with the chart's rules per replica.

use std::{
    fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use harness::cluster::{Cluster, Profile};
use kube::{Api, Client, ResourceExt};
use medley::api::{WorkflowRun, workflow_run::RunPhase};
use serde_json::{Value, json};

use super::until;

/// Replicas of the operator: each has a ServiceAccount, so that the audit log tells them apart.
pub(crate) const REPLICAS: [&str; 2] = ["one", "two"];
/// The kinds' definitions, as files of the checkout.
pub(crate) const CRDS: [&str; 6] =
    ["capacitypools", "medicalservices", "servicepolicies", "servicequeries", "workflows", "workflowruns"];

/// Everything that operators need.
pub(crate) struct Stage {
    /// The control plane.
    pub(crate) cluster: Cluster,
    /// The administrator's client.
    pub(crate) client: Client,
    home: String,
    scratch: PathBuf,
    numbers: AtomicU32,
}

impl Stage {
    /// Sets up the control plane of `cluster run fake`.
    pub(crate) async fn set() -> Self {
        // the same provider may have been set before
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let cluster = Cluster::from_env().unwrap();
        assert_eq!(cluster.profile(), Profile::Fake, "run this through `cluster run fake`");
        let client = cluster.client().await.unwrap();
        let home = format!("medley-{}", std::process::id());
        let scratch = Path::new(env!("CARGO_TARGET_TMPDIR")).join(&home);
        fs::create_dir_all(&scratch).unwrap();
        let stage = Self { cluster, client, home, scratch, numbers: AtomicU32::new(0) };
        for crd in CRDS {
            stage.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", &crd_file(crd)]);
            // kubectl's own wait gives up where a definition has no conditions yet
            until(&format!("{crd} is established"), Duration::from_secs(30), async || {
                let name = format!("crd/{crd}.medley.health");
                let wait = ["wait", "--for=condition=Established", "--timeout=5s", &name];
                stage.cluster.kubectl(&wait).ok()
            })
            .await;
        }
        stage.kubectl(&["create", "namespace", &stage.home]);
        for (number, replica) in REPLICAS.into_iter().enumerate() {
            let chart = stage.chart(replica, number == 0);
            stage.cluster.kubectl_with_input(&["apply", "-n", &stage.home, "-f", "-"], &chart).unwrap();
            stage.write_kubeconfig(replica);
        }
        stage
    }

    /// What the chart gives an operator that looks after the whole cluster, save the operator itself.
    fn chart(&self, replica: &str, once: bool) -> String {
        let chart = format!("{}/charts/medley", env!("CARGO_MANIFEST_DIR"));
        let values = format!(
            "clusterWide=true,capacityPools=true,fullnameOverride={}-{replica},leaderElection.leaseName={},rbac.userRoles=false,priorityClasses.create={once}",
            self.home, self.home
        );
        let mut arguments = vec!["template", replica, &chart, "-n", &self.home, "--set", &values];
        for template in ["rbac", "serviceaccount", "priorityclasses"] {
            if template != "priorityclasses" || once {
                arguments.extend([
                    "--show-only",
                    match template {
                        "rbac" => "templates/rbac.yaml",
                        "serviceaccount" => "templates/serviceaccount.yaml",
                        _ => "templates/priorityclasses.yaml",
                    },
                ]);
            }
        }
        self.cluster.helm(&arguments).unwrap()
    }

    /// The administrator's kubeconfig with the user replaced by the replica's ServiceAccount.
    fn write_kubeconfig(&self, replica: &str) {
        let account = format!("{}-{replica}", self.home);
        let token = self.kubectl(&["create", "token", &account, "-n", &self.home, "--duration=4h"]);
        let text = fs::read_to_string(self.cluster.kubeconfig()).unwrap();
        let mut config: Value = serde_saphyr::from_str(&text).unwrap();
        for user in config["users"].as_array_mut().unwrap() {
            user["user"] = json!({ "token": token.trim() });
        }
        let path = self.kubeconfig_of(replica);
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path).unwrap();
        file.write_all(config.to_string().as_bytes()).unwrap();
    }

    /// Kubeconfig of a replica.
    pub(crate) fn kubeconfig_of(&self, replica: &str) -> PathBuf {
        self.scratch.join(format!("{replica}.kubeconfig"))
    }

    /// The replica as the API server names it.
    pub(crate) fn user_of(&self, replica: &str) -> String {
        format!("system:serviceaccount:{}:{}-{replica}", self.home, self.home)
    }

    /// Namespace of the operators and their lease.
    pub(crate) fn home(&self) -> &str {
        &self.home
    }

    /// Name of the lease.
    pub(crate) fn lease(&self) -> &str {
        &self.home
    }

    /// Directory for logs and kubeconfigs.
    pub(crate) fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// A number that was not given before.
    pub(crate) fn next_number(&self) -> u32 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Runs kubectl; ends the test when it fails.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        self.cluster.kubectl(arguments).unwrap()
    }

    /// Makes a namespace in which pods can be made.
    pub(crate) fn namespace(&self, name: &str) -> String {
        let name = format!("{name}-{}", std::process::id());
        self.kubectl(&["create", "namespace", &name]);
        self.kubectl(&["wait", "-n", &name, "--for=create", "serviceaccount/default", "--timeout=30s"]);
        name
    }

    /// Removes a namespace, without waiting for its end. The kinds' objects go first: the operator would make what belongs to
    /// them anew, which is refused in a namespace that ends and looks like a missing permission.
    pub(crate) fn remove_namespace(&self, name: &str) {
        for plural in CRDS.into_iter().filter(|plural| *plural != "capacitypools") {
            self.kubectl(&["delete", "--raw", &format!("/apis/medley.health/v1alpha1/namespaces/{name}/{plural}")]);
        }
        self.kubectl(&["delete", "namespace", name, "--wait=false"]);
    }

    /// Applies objects.
    pub(crate) fn apply(&self, namespace: &str, objects: &str) {
        self.cluster.kubectl_with_input(&["apply", "-n", namespace, "-f", "-"], objects).unwrap();
    }

    /// Makes a workflow of one step that runs a pod, and waits until its definition is stored.
    pub(crate) fn one_pod_workflow(&self, namespace: &str, name: &str) {
        self.apply(
            namespace,
            &format!(
                "{{apiVersion: medley.health/v1alpha1, kind: Workflow, metadata: {{name: {name}}}, spec: {{steps: [{{name: work, container: {{image: fake}}}}]}}}}"
            ),
        );
        self.ready(namespace, &format!("mwf/{name}"));
    }

    /// Waits until an object is Ready.
    pub(crate) fn ready(&self, namespace: &str, object: &str) {
        self.kubectl(&["wait", "-n", namespace, "--for=condition=Ready", object, "--timeout=30s"]);
    }

    /// The runs of a namespace.
    pub(crate) fn runs(&self, namespace: &str) -> Api<WorkflowRun> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Makes a run.
    pub(crate) async fn start_run(&self, namespace: &str, workflow: &str, name: &str) {
        let run: WorkflowRun = serde_json::from_value(json!({
            "apiVersion": "medley.health/v1alpha1", "kind": "WorkflowRun",
            "metadata": { "name": name }, "spec": { "workflow": workflow },
        }))
        .unwrap();
        self.runs(namespace).create(&Default::default(), &run).await.unwrap();
    }

    /// Waits until all runs of a namespace have succeeded; one that ends otherwise ends the test.
    pub(crate) async fn all_succeed(&self, namespace: &str, count: usize, limit: Duration) -> Vec<WorkflowRun> {
        let api = self.runs(namespace);
        until(&format!("{count} runs have succeeded"), limit, async || {
            let runs = api.list(&Default::default()).await.unwrap().items;
            let phase = |r: &WorkflowRun| r.status.as_ref().and_then(|s| s.phase);
            for run in &runs {
                let ended = phase(run).is_some_and(RunPhase::is_final);
                assert!(!ended || phase(run) == Some(RunPhase::Succeeded), "run {}: {:?}", run.name_any(), run.status);
            }
            (runs.len() == count && runs.iter().all(|r| phase(r) == Some(RunPhase::Succeeded))).then_some(runs)
        })
        .await
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // on the way out of a failed test too, so nothing here may end the test
        let _ = self.cluster.kubectl(&["delete", "namespace", &self.home, "--wait=false"]);
        for replica in REPLICAS {
            let name = format!("{}-{replica}", self.home);
            let pools = format!("{}-{name}-pools", self.home);
            let _ = self.cluster.kubectl(&["delete", "clusterrole,clusterrolebinding", &name, &pools]);
            let _ = fs::remove_file(self.kubeconfig_of(replica));
        }
    }
}

/// Path of a kind's definition.
pub(crate) fn crd_file(plural: &str) -> String {
    format!("{}/crds/{plural}.yaml", env!("CARGO_MANIFEST_DIR"))
}
