//! Do the charts do in a real cluster what Helm promises: install, upgrade, roll back, uninstall? And does an uninstall with
//! work under way leave anything that cannot be deleted? What shows without a cluster: `charts.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use harness::cluster::{Cluster, oci};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const HOME: &str = "medley-charts";
const WORK: &str = "medley-charts-work";
/// busybox that runs as a user other than root, as medley demands of every pod.
const SHELL: &str = "localhost/medley-charts-shell:1";

#[test]
#[ignore = "needs a real node: make test-node"]
fn the_charts_install_upgrade_roll_back_and_uninstall() {
    let stage = Stage::set();
    stage.install(&[]);
    assert_eq!(stage.get(HOME, "deployment/medley", "{.status.readyReplicas}"), "2");
    stage.leader_is_one_of_the_pods();
    let metrics =
        stage.kubectl(&["get", "--raw", &format!("/api/v1/namespaces/{HOME}/services/medley:http/proxy/metrics")]);
    assert!(metrics.ends_with("# EOF\n") && metrics.contains("medley_leader"), "{metrics}");

    // its own permissions suffice for its work, and its work is only what it was given
    stage.apply(HOME, &external("archive"));
    stage.apply(WORK, &external("elsewhere"));
    stage.wait(HOME, "msvc/archive", "condition=Ready");
    assert_eq!(stage.get(WORK, "msvc/elsewhere", "{.status}"), "", "a namespace that was not given to it");

    stage.install(&["--set", "replicas=3,log.level=debug,workers=4"]);
    assert_eq!(stage.get(HOME, "deployment/medley", "{.status.readyReplicas}"), "3");
    assert_eq!(stage.logged_at(), "debug");
    stage.leader_is_one_of_the_pods();

    stage.install(&["--set", &format!("namespaces={{{HOME},{WORK}}}")]);
    stage.wait(WORK, "msvc/elsewhere", "condition=Ready");

    stage.helm(&["rollback", "medley", "1", "-n", HOME, "--wait", "--timeout", "120s"]);
    assert_eq!(stage.get(HOME, "deployment/medley", "{.status.readyReplicas}"), "2");
    assert_eq!(stage.logged_at(), "info");
    assert_eq!(
        stage.kubectl(&["get", "role,rolebinding", "-n", WORK, "-o", "name"]),
        "",
        "rights that the rolled back release had"
    );
    stage.leader_is_one_of_the_pods();

    stage.uninstall();
    let kinds = "deployment,replicaset,pod,service,pdb,networkpolicy,serviceaccount,role,rolebinding";
    let wide = "clusterrole,clusterrolebinding,priorityclass";
    // Helm does not wait for the pods to end
    until("the uninstall leaves nothing", || {
        let selected = ["-l", "app.kubernetes.io/instance=medley", "-o", "name"];
        let left = [["get", kinds, "-n", HOME].as_slice(), &["get", wide]]
            .map(|get| stage.kubectl(&[get, selected.as_slice()].concat()));
        left.concat().is_empty()
    });

    // names keep resolving while there is no operator, and the kinds outlive their chart
    assert_eq!(stage.get(HOME, "service/archive", "{.metadata.name}"), "archive");
    stage.install_kinds();
    stage.helm(&["uninstall", "medley-crds", "-n", HOME, "--wait", "--timeout", "60s"]);
    assert_eq!(stage.get(HOME, "msvc/archive", "{.metadata.name}"), "archive");
    stage.install_kinds();
    stage.install(&[]);
    stage.wait(HOME, "msvc/archive", "condition=Ready");
}

#[test]
#[ignore = "needs a real node: make test-node"]
fn an_uninstall_with_work_under_way_leaves_nothing_that_hangs() {
    let stage = Stage::set();
    stage.install(&["--set", "clusterWide=true"]);
    stage.apply(WORK, &external("archive"));
    stage.apply(WORK, &live_objects());
    stage.wait(WORK, "msvc/viewer", "condition=Ready");
    stage.wait(WORK, "mwf/patient", "condition=Ready");
    stage.wait(WORK, "mrun -l medley.health/workflow=patient", "jsonpath={.status.steps.work.phase}=Running");
    let (run, pods) = (stage.kubectl(&["get", "mrun", "-n", WORK, "-o", "name"]), "pods -l medley.health/run");
    assert_eq!(run.lines().count(), 1, "{run}");
    stage.wait(WORK, pods, "condition=Ready");

    let begin = Instant::now();
    stage.uninstall();
    let uninstalled = begin.elapsed();
    stage.wait(WORK, pods, "condition=Ready");
    for object in ["msvc", "mwf", "mrun"] {
        let finalizers = stage.get(WORK, object, "{.items[*].metadata.finalizers}");
        assert_eq!(finalizers, "", "finalizers of {object}");
    }

    let begin = Instant::now();
    stage.kubectl(&["delete", "namespace", WORK, "--timeout=60s"]);
    let emptied = begin.elapsed();
    stage.kubectl(&["delete", "namespace", HOME, "--timeout=60s"]);
    println!("uninstalled in {uninstalled:.1?}, namespace with live objects gone in {emptied:.1?}");
}

/// A host outside the cluster; nobody need be there for the service to be accepted and programmed.
fn external(name: &str) -> String {
    format!(
        "{{apiVersion: medley.health/v1alpha1, kind: MedicalService, metadata: {{name: {name}}}, spec: {{\
           external: {{endpoints: [{{host: 10.200.0.1}}]}}, interfaces: [{{name: http, port: 9, protocol: HTTP}}]}}}}"
    )
}

/// A service with pods, and a workflow with a run whose pod goes on for an hour.
fn live_objects() -> String {
    format!(
        "apiVersion: medley.health/v1alpha1
kind: MedicalService
metadata: {{name: viewer}}
spec:
  workload: {{image: {SHELL}, command: [/bin/sh, -c, 'trap exit TERM; httpd -p 8080 -h /; sleep 3600 & wait'], replicas: 2}}
  interfaces: [{{name: web, port: 80, targetPort: 8080, protocol: TCP}}]
---
apiVersion: medley.health/v1alpha1
kind: Workflow
metadata: {{name: patient}}
spec:
  start: OnApply
  steps:
    - name: work
      container: {{image: {SHELL}, command: [/bin/sh, -c, 'trap exit TERM; sleep 3600 & wait']}}
    - name: pause
      wait: {{for: 1h}}
"
    )
}

/// A cluster without medley, two namespaces, and the images.
struct Stage {
    cluster: Cluster,
}

impl Stage {
    fn set() -> Self {
        let stage = Self { cluster: Cluster::from_env().unwrap() };
        stage.clear();
        let archive = Path::new(ROOT).join("dist/medley.tar");
        assert!(archive.is_file(), "{} is missing: run `make image`", archive.display());
        stage.cluster.import_image(&archive).unwrap();
        stage.import_shell();
        for namespace in [HOME, WORK] {
            stage.kubectl(&["create", "namespace", namespace]);
            stage.kubectl(&["label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted"]);
        }
        stage.install_kinds();
        stage
    }

    /// Removes what other tests of this cluster may have made without Helm, which would refuse to take it over.
    fn clear(&self) {
        for kind in ["crd", "priorityclass", "clusterrole"] {
            let all = self.kubectl(&["get", kind, "-o", "name"]);
            let ours: Vec<_> =
                all.lines().filter(|name| name.contains("/medley-") || name.ends_with(".medley.health")).collect();
            if !ours.is_empty() {
                self.kubectl(&[&["delete", "--timeout=60s"], ours.as_slice()].concat());
            }
        }
        self.kubectl(&["delete", "namespace", HOME, WORK, "--ignore-not-found", "--timeout=60s"]);
    }

    fn install_kinds(&self) {
        let chart = format!("{ROOT}/charts/medley-crds");
        self.helm(&["upgrade", "--install", "medley-crds", &chart, "-n", HOME, "--wait", "--timeout", "60s"]);
    }

    /// Installs the operator, or upgrades it to exactly these values.
    fn install(&self, values: &[&str]) {
        let chart = format!("{ROOT}/charts/medley");
        let fixed = ["upgrade", "--install", "medley", &chart, "-n", HOME, "--wait", "--timeout", "120s"];
        let image = ["--reset-values", "--set", "image.tag=dev,image.pullPolicy=Never"];
        if let Err(error) = self.cluster.helm(&[fixed.as_slice(), &image, values].concat()) {
            let seen = self.cluster.kubectl(&["get", "pods,events", "-n", HOME, "-o", "wide"]).unwrap_or_default();
            let said =
                self.cluster.kubectl(&["logs", "-n", HOME, "deployment/medley", "--tail=20"]).unwrap_or_default();
            panic!("{error:#}\n{seen}\n{said}");
        }
    }

    fn uninstall(&self) {
        self.helm(&["uninstall", "medley", "-n", HOME, "--wait", "--timeout", "60s"]);
    }

    fn leader_is_one_of_the_pods(&self) {
        // a rollout moves the lease; a holder that has gone is followed within the lease's duration
        let running = ["-l", "app.kubernetes.io/name=medley", "--field-selector=status.phase=Running", "-o", "name"];
        let pods = self.kubectl(&[["get", "pods", "-n", HOME].as_slice(), &running].concat());
        let names: Vec<_> = pods.lines().filter_map(|line| line.strip_prefix("pod/")).collect();
        until(&format!("one of {names:?} holds the lease"), || {
            let holder = self.get(HOME, "lease/medley", "{.spec.holderIdentity}");
            names.iter().any(|name| holder.starts_with(name))
        });
    }

    fn logged_at(&self) -> String {
        self.get(HOME, "deployment/medley", "{.spec.template.spec.containers[0].env[?(@.name=='MEDLEY_LOG')].value}")
    }

    fn import_shell(&self) {
        let folder = Scratch(self.cluster.run_dir().join("charts-shell"));
        let root = folder.0.join("root");
        fs::create_dir_all(root.join("bin")).unwrap();
        fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
        for applet in ["httpd", "sh", "sleep"] {
            let link = root.join("bin").join(applet);
            if !link.exists() {
                symlink("busybox", link).unwrap();
            }
        }
        let image = oci::Image {
            name: SHELL.into(),
            entrypoint: vec!["/bin/sh".into()],
            user: Some("65532".into()),
            env: Vec::new(),
        };
        let archive = folder.0.join("image.tar");
        image.write(&root, &archive).unwrap();
        self.cluster.import_image(&archive).unwrap();
    }

    fn kubectl(&self, arguments: &[&str]) -> String {
        self.cluster.kubectl(arguments).unwrap()
    }

    fn helm(&self, arguments: &[&str]) -> String {
        self.cluster.helm(arguments).unwrap()
    }

    fn apply(&self, namespace: &str, manifests: &str) {
        self.cluster.kubectl_with_input(&["apply", "-n", namespace, "-f", "-"], manifests).unwrap();
    }

    fn get(&self, namespace: &str, what: &str, path: &str) -> String {
        self.kubectl(&["get", what, "-n", namespace, "-o", &format!("jsonpath={path}")])
    }

    fn wait(&self, namespace: &str, what: &str, condition: &str) {
        let selected: Vec<_> = what.split(' ').collect();
        let until_so = format!("--for={condition}");
        // kubectl does not wait for a selection that is still empty
        until(what, || {
            !self.kubectl(&[&["get", "-n", namespace, "-o", "name"], selected.as_slice()].concat()).is_empty()
        });
        self.kubectl(&[&["wait", "-n", namespace, &until_so, "--timeout=60s"], selected.as_slice()].concat());
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // on the way out of a failed test too, so nothing here may end the test
        for release in ["medley", "medley-crds"] {
            let _ = self.cluster.helm(&["uninstall", release, "-n", HOME, "--ignore-not-found"]);
        }
        let _ = self.cluster.kubectl(&["delete", "namespace", HOME, WORK, "--ignore-not-found", "--wait=false"]);
    }
}

/// Polls a condition.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < end, "not within 30 s: {what}");
        std::thread::park_timeout(Duration::from_millis(100));
    }
}

/// A folder that is gone when this is dropped.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
