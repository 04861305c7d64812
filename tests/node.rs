//! On a real node: services of each backend have names in cluster DNS that pods can use, and a host outside the cluster
//! leaves and re-enters its name with its health; volumes, Secrets and slots reach the pods of runs.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod site;

use std::{
    fs,
    time::{Duration, Instant},
};

use serde_json::json;
use site::{Operator, Site, until};

/// A workload's and an external service's name and SRV record resolve in a pod, and the connection works.
#[test]
#[ignore = "needs a real node: make test-node"]
fn names_of_workload_and_external_services_resolve_and_connect() {
    let site = Site::new("dns");
    let _operator = Operator::start(&site);
    let outside = site.serve();
    site.apply(&format!(
        "{{apiVersion: medley.health/v1alpha1, kind: MedicalService, metadata: {{name: archive}}, spec: {{\
           external: {{endpoints: [{{host: {host}}}]}}, \
           interfaces: [{{name: http, port: {port}, protocol: HTTP, probe: {{interval: 1s}}}}]}}}}\n---\n\
         {{apiVersion: medley.health/v1alpha1, kind: MedicalService, metadata: {{name: viewer}}, spec: {{\
           workload: {{image: {image}, command: [/bin/httpd, -f, -p, '8080', -h, /etc], replicas: 2, \
                       resources: {{requests: {{cpu: 10m}}}}}}, \
           interfaces: [{{name: web, port: 80, targetPort: 8080, protocol: HTTP, http: {{healthPath: /index.html}}, \
                         probe: {{interval: 1s}}}}]}}}}",
        host = site.host(),
        port = outside.port(),
        image = site::IMAGE,
    ));
    for service in ["archive", "viewer"] {
        site.kubectl(&["wait", "--for=condition=Reachable", "--timeout=60s", &format!("msvc/{service}")]);
        site.kubectl(&["wait", "--for=condition=Ready", "--timeout=60s", &format!("msvc/{service}")]);
    }
    until("both pods are endpoints", Duration::from_secs(20), || {
        (site.get("msvc/viewer", "{.status.endpointSummary}") == "2/2").then_some(())
    });
    assert_eq!(site.get("pdb/viewer", "{.spec.maxUnavailable}"), "1");
    for (service, port_name, port, answer) in
        [("archive", "http", outside.port(), site::ANSWER), ("viewer", "web", 80, site::PAGE)]
    {
        let name = site.get(&format!("msvc/{service}"), "{.status.dnsName}");
        assert_eq!(name, format!("{service}.{}.svc.cluster.local", site.namespace));
        let address = site.get(&format!("svc/{service}"), "{.spec.clusterIP}");
        let found = site.in_pod(&["nslookup", &name]);
        assert!(found.contains(&address), "{name} should resolve to {address}:\n{found}");
        let srv = site.in_pod(&["nslookup", "-type=srv", &format!("_{port_name}._tcp.{name}")]);
        assert!(srv.contains(&format!(" {port} {name}")), "the SRV record should name port {port}:\n{srv}");
        until("the Service is programmed and answers", Duration::from_secs(20), || {
            let got = site.try_in_pod(&["wget", "-q", "-O-", &format!("http://{name}:{port}/index.html")]);
            got.is_some_and(|g| g.contains(answer)).then_some(())
        });
    }
}

/// Stop the external service's process: its endpoint leaves the `EndpointSlice`, the status names the layer; start it again: back.
#[test]
#[ignore = "needs a real node: make test-node"]
fn an_external_endpoint_follows_its_process() {
    let site = Site::new("health");
    let _operator = Operator::start(&site);
    let outside = site.serve();
    let port = outside.port();
    site.apply(&format!(
        "{{apiVersion: medley.health/v1alpha1, kind: MedicalService, metadata: {{name: archive}}, spec: {{\
           external: {{endpoints: [{{host: {host}}}]}}, \
           interfaces: [{{name: http, port: {port}, protocol: HTTP, \
             probe: {{interval: 1s, timeout: 1s, failureThreshold: 2, successThreshold: 1}}}}]}}}}",
        host = site.host(),
    ));
    site.kubectl(&["wait", "--for=condition=Reachable", "--timeout=30s", "msvc/archive"]);
    let listed = || {
        let slices = site.get("endpointslices -l medley.health/service=archive", "{.items[*].endpoints[*].addresses}");
        slices.contains(&site.host())
    };
    until("the endpoint is published", Duration::from_secs(10), || listed().then_some(()));
    for round in 1..=3 {
        let stopped = Instant::now();
        outside.pause();
        until("the endpoint leaves", Duration::from_secs(30), || (!listed()).then_some(()));
        let left = stopped.elapsed();
        until("the status names the layer", Duration::from_secs(10), || {
            (site.get("msvc/archive", "{.status.endpoints[0].reason}") == "TcpRefused").then_some(())
        });
        assert_eq!(site.get("msvc/archive", "{.status.conditions[?(@.type==\"Reachable\")].status}"), "False");
        // live health never blocks a rollout
        assert_eq!(site.get("msvc/archive", "{.status.conditions[?(@.type==\"Ready\")].status}"), "True");
        let started = Instant::now();
        outside.resume();
        until("the endpoint comes back", Duration::from_secs(30), || listed().then_some(()));
        println!(
            "round {round}: left {left:?} after the stop (2 failures, 1 s apart), back {:?} after the start",
            started.elapsed()
        );
    }
}

/// Pods that speak HL7: they are in their Service while they acknowledge, and an operator that is away changes nothing. They are
/// instances, so that each has a name, too.
#[test]
#[ignore = "needs a real node: make test-node"]
fn the_readiness_gate_of_pods_follows_what_they_acknowledge() {
    let site = Site::new("gate");
    let operator = Operator::start(&site);
    let probe =
        json!({"level": "Protocol", "interval": "1s", "timeout": "1s", "failureThreshold": 2, "successThreshold": 1});
    let service = json!({"apiVersion": "medley.health/v1alpha1", "kind": "MedicalService", "metadata": {"name": "lab"}, "spec": {
        "workload": {"image": site::IMAGE, "imagePullPolicy": "Never", "replicas": 2, "identity": "Stable",
            "command": ["/bin/busybox", "nc", "-ll", "-p", "2575", "-e", "/bin/sh", "-c", site::ACKNOWLEDGE],
            "resources": {"requests": {"cpu": "10m"}}},
        "interfaces": [{"name": "adt", "port": 2575, "protocol": "HL7v2", "hl7v2": {"receivingApplication": "LAB"}, "probe": probe}],
    }});
    site.apply(&service.to_string());
    site.kubectl(&["wait", "--for=condition=Ready", "--timeout=90s", "msvc/lab"]);
    let summary = || site.get("msvc/lab", "{.status.endpointSummary}");
    until("both pods are in", Duration::from_secs(20), || (summary() == "2/2").then_some(()));
    let gate =
        |pod: &str| site.get(pod, "{.status.conditions[?(@.type==\"medley.health/protocol\")]['status','reason']}");
    assert_eq!((gate("pod/lab-0"), gate("pod/lab-1")), ("True Healthy".to_owned(), "True Healthy".to_owned()));
    let name = site.get("msvc/lab", "{.status.endpoints[0].dnsName}");
    assert!(name.ends_with(&format!(".lab-instances.{}.svc.cluster.local", site.namespace)), "{name}");
    let address = site.get("msvc/lab", "{.status.endpoints[0].address}");
    let found = site.in_pod(&["nslookup", &name]);
    assert!(found.contains(&address), "{name} should resolve to {address}:\n{found}");

    let ready = || {
        let path = "{.items[*].endpoints[?(@.conditions.ready==true)].targetRef.name}";
        site.get("endpointslices -l kubernetes.io/service-name=lab", path)
    };
    let sick = Instant::now();
    site.kubectl(&["exec", "lab-0", "--", "/bin/busybox", "touch", "/dev/shm/sick"]);
    until("the sick pod leaves", Duration::from_secs(20), || (ready() == "lab-1").then_some(()));
    println!("out {:?} after it fell silent (2 failures, 1 s apart)", sick.elapsed());
    // what it has not read when it closes breaks the connection
    until("the status says why", Duration::from_secs(10), || {
        site.get("msvc/lab", "{.status.endpoints[*].reason}").contains("TcpFailed").then_some(())
    });
    drop(operator);
    site.kubectl(&["exec", "lab-0", "--", "/bin/busybox", "rm", "/dev/shm/sick"]);
    site.kubectl(&["exec", "lab-1", "--", "/bin/busybox", "touch", "/dev/shm/sick"]);
    let end = Instant::now() + Duration::from_secs(8);
    until("nothing changes while nobody leads", Duration::from_secs(10), || {
        assert_eq!(ready(), "lab-1");
        (Instant::now() > end).then_some(())
    });
    let _operator = Operator::start(&site);
    until("the next leader sees how they are", Duration::from_secs(60), || (ready() == "lab-0").then_some(()));
}

/// What the Secret of the test holds.
const CANARY: &str = "CANARY-9c41e7";

/// A directory of the node as a volume that a claim of its class gets.
struct Volume<'a> {
    site: &'a Site,
    directory: std::path::PathBuf,
}

impl<'a> Volume<'a> {
    fn new(site: &'a Site) -> Self {
        let directory = site.cluster.run_dir().join(format!("volume-{}", site.namespace));
        fs::create_dir_all(&directory).unwrap();
        site.apply(&format!(
            "{{apiVersion: v1, kind: PersistentVolume, metadata: {{name: {name}}}, spec: {{storageClassName: {name}, \
               capacity: {{storage: 1Gi}}, accessModes: [ReadWriteOnce], local: {{path: {path}}}, \
               nodeAffinity: {{required: {{nodeSelectorTerms: [{{matchExpressions: \
                 [{{key: kubernetes.io/hostname, operator: In, values: [node1]}}]}}]}}}}}}}}",
            name = site.namespace,
            path = directory.display(),
        ));
        Self { site, directory }
    }
}

impl Drop for Volume<'_> {
    fn drop(&mut self) {
        let _ = self.site.cluster.kubectl(&["delete", "pv", &self.site.namespace, "--wait=false"]);
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// One pod writes a file that the next one reads, neither as root; a Secret's value reaches them and nothing else.
#[test]
#[ignore = "needs a real node: make test-node"]
fn files_and_secrets_reach_the_pods_of_a_run() {
    let site = Site::new("files");
    let volume = Volume::new(&site);
    let _operator = Operator::start(&site);
    site.kubectl(&["create", "secret", "generic", "access", &format!("--from-literal=token={CANARY}")]);
    let container = |script: &str| {
        format!(
            "{{image: {image}, command: [/bin/sh, -c], args: ['{script}'], \
               env: [{{name: TOKEN, value: $( params.token )}}]}}",
            image = site::IMAGE
        )
    };
    let write = container("printf %s \"$TOKEN\" > /workspace/token");
    let read = container(
        "test \"$$(/bin/busybox cat /workspace/token)\" = \"$TOKEN\" && \
         echo \"{\\\"length\\\": $$(/bin/busybox wc -c < /workspace/token)}\" > /dev/termination-log",
    );
    site.apply(&format!(
        "{{apiVersion: medley.health/v1alpha1, kind: Workflow, metadata: {{name: hand-over}}, spec: {{\
           parameters: [{{name: token, type: String, sensitive: true, required: true}}], \
           workspace: {{size: 1Gi, storageClassName: {class}}}, \
           steps: [{{name: write, container: {write}}}, \
                   {{name: read, after: [write], container: {read}, outputs: [{{name: length, type: Integer}}]}}]}}}}",
        class = site.namespace,
    ));
    let run = |name: &str, key: &str| {
        site.apply(&format!(
            "{{apiVersion: medley.health/v1alpha1, kind: WorkflowRun, metadata: {{name: {name}}}, spec: {{\
               workflow: hand-over, parameters: {{token: {{secret: access, key: {key}}}}}}}}}"
        ));
    };
    run("first", "token");
    let ended = until("the run has ended", Duration::from_secs(90), || {
        let phase = site.get("mrun/first", "{.status.phase}");
        matches!(phase.as_str(), "Succeeded" | "Failed").then_some(phase)
    });
    assert_eq!(ended, "Succeeded", "{}", site.get("mrun/first", "{.status}"));
    assert_eq!(site.get("mrun/first", "{.status.steps.read.outputs.length}"), CANARY.len().to_string());
    assert_eq!(fs::read_to_string(volume.directory.join("token")).unwrap(), CANARY, "the kubelet put the value in");
    until("the claim is gone", Duration::from_secs(30), || {
        site.get("pvc", "{.items[*].metadata.name}").is_empty().then_some(())
    });

    // the volume is still bound to the former claim: this run does not come so far as to need its files
    site.kubectl(&["patch", "pv", &site.namespace, "--type=merge", "-p", "{\"spec\": {\"claimRef\": null}}"]);
    run("second", "absent");
    let message = until("the run without its key has failed", Duration::from_secs(90), || {
        let failed = site.get("mrun/second", "{.status.phase}") == "Failed";
        failed.then(|| site.get("mrun/second", "{.status.steps.write.message}"))
    });
    assert_eq!(
        message,
        "the kubelet cannot start the container: CreateContainerConfigError; it needs key `absent` of Secret `access`: are they there?"
    );

    let objects = site.kubectl(&["get", "mrun,mwf,pods,events,controllerrevisions,pvc", "-o", "json"]);
    assert!(objects.contains("\"secret\": \"access\""), "the runs' own references");
    assert!(!objects.contains(CANARY));
    let log = fs::read_to_string(site.cluster.log_dir().join(format!("operator-{}.log", site.namespace))).unwrap();
    assert!(log.contains("this process leads") && !log.contains(CANARY));
}

/// A batch pod that ends by itself when it is told to stop gives its slot to a stat run, and is made again at no retry.
#[test]
#[ignore = "needs a real node: make test-node"]
fn a_stat_run_takes_the_slot_of_a_batch_pod() {
    let site = Site::new("stat");
    let _operator = Operator::start(&site);
    let pool = format!(
        "{{apiVersion: medley.health/v1alpha1, kind: CapacityPool, metadata: {{name: {name}}}, spec: {{resources: {{slots: '1'}}, \
           shares: [{{name: here, namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: {name}}}}}}}]}}}}",
        name = site.namespace
    );
    site.cluster.kubectl_with_input(&["apply", "-f", "-"], &pool).unwrap();
    let workflow = |name: &str, interruptible: bool, script: &str| {
        format!(
            "{{apiVersion: medley.health/v1alpha1, kind: Workflow, metadata: {{name: {name}}}, spec: {{\
               steps: [{{name: work, interruptible: {interruptible}, holds: {{slots: '1'}}, \
                 container: {{image: {image}, command: [/bin/sh, -c], args: ['{script}']}}}}]}}}}",
            image = site::IMAGE
        )
    };
    site.apply(&format!(
        "{{apiVersion: medley.health/v1alpha1, kind: ServicePolicy, metadata: {{name: all}}, spec: {{scheduling: {{pool: {pool}}}}}}}\n---\n\
         {old}\n---\n{stroke}",
        pool = site.namespace,
        old = workflow("old", true, "trap \"exit 3\" TERM; while :; do sleep 1; done"),
        stroke = workflow("stroke", false, "sleep 1"),
    ));
    let run = |name: &str, workflow: &str, urgency: &str| {
        site.apply(&format!(
            "{{apiVersion: medley.health/v1alpha1, kind: WorkflowRun, metadata: {{name: {name}}}, \
               spec: {{workflow: {workflow}, urgency: {urgency}}}}}"
        ));
    };
    run("batch", "old", "batch");
    site.kubectl(&["wait", "--for=jsonpath={.status.steps.work.phase}=Running", "--timeout=60s", "mrun/batch"]);
    let came = Instant::now();
    run("now", "stroke", "stat");
    site.kubectl(&["wait", "--for=create", "--timeout=60s", "pod/now-work-1"]);
    site.kubectl(&["wait", "--for=jsonpath={.status.phase}=Running", "--timeout=60s", "pod/now-work-1"]);
    println!("from the stat run to its container at work: {:?}, the end of the batch pod's included", came.elapsed());
    site.kubectl(&["wait", "--for=condition=Succeeded", "--timeout=60s", "mrun/now"]);
    site.kubectl(&["wait", "--for=jsonpath={.status.steps.work.attempt}=2", "--timeout=60s", "mrun/batch"]);
    assert_eq!(site.get("mrun/batch", "{.status.steps.work.disruptions}"), "1", "it has no retry, and needs none");
    site.kubectl(&["patch", "mrun/batch", "--type=merge", "-p", "{\"spec\": {\"cancel\": true}}"]);
    site.kubectl(&["wait", "--for=jsonpath={.status.phase}=Canceled", "--timeout=60s", "mrun/batch"]);
    site.kubectl(&["delete", "mpool", &site.namespace]);
}
