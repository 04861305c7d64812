//! Two kinds of pods and a process outside the cluster, each an endpoint of a service of its own.

use std::{
    fs,
    io::Write,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use futures::TryStreamExt;
use hickory_resolver::proto::rr::RecordType;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{
    Api, ResourceExt,
    runtime::{WatchStreamExt, watcher},
};
use serde_json::{Value, json};
use tokio::task::AbortHandle;

use super::{
    board::Board,
    names::{self, Count},
    site::{self, Operator, Site, until},
};

/// Between two probes of an endpoint.
pub(crate) const INTERVAL: Duration = Duration::from_secs(1);
/// So many failures in a row take an endpoint out.
pub(crate) const FAILURES: u32 = 2;
/// How long the cluster's `CoreDNS` keeps an answer, as its configuration says.
pub(crate) const TTL: Duration = Duration::from_secs(5);
const LIMIT: Duration = Duration::from_secs(120);
/// Where a pod's shell waits for a word before it starts its server again.
const GATE: &str = "/dev/shm/gate";

/// A record that names an endpoint.
pub(crate) struct Record {
    /// Key on the board.
    pub(crate) key: String,
    /// What is in it while the endpoint is ready.
    pub(crate) what: String,
}

/// An endpoint whose process can be ended.
pub(crate) struct Endpoint {
    /// What the table calls it.
    pub(crate) title: &'static str,
    pub(crate) process: Process,
    pub(crate) address: String,
    /// Key on the board of the slices that hold it.
    pub(crate) slice: String,
    /// An A and an SRV record, where a name stands for the endpoints themselves.
    pub(crate) records: Vec<Record>,
}

/// A process that serves.
pub(crate) enum Process {
    /// In a pod of this name; its program.
    Pod(&'static str, &'static str),
    /// Beside the cluster.
    Outside(Outside),
}

/// A web server of this machine.
pub(crate) struct Outside {
    address: SocketAddr,
    folder: PathBuf,
    child: Option<Child>,
}

impl Process {
    pub(crate) fn kill(&mut self) {
        match self {
            Self::Pod(pod, program) => {
                let pids = processes(pod, program);
                assert!(!pids.is_empty(), "{program} of {pod} runs");
                for pid in pids {
                    signal(pid);
                }
            }
            Self::Outside(outside) => outside.kill(),
        }
    }

    pub(crate) fn start(&mut self) {
        match self {
            Self::Pod(pod, _) => {
                let shell = processes(pod, "sh\0")[0];
                let mut gate = fs::OpenOptions::new().write(true).open(format!("/proc/{shell}/root{GATE}")).unwrap();
                gate.write_all(b"go\n").unwrap();
            }
            Self::Outside(outside) => outside.start(),
        }
    }
}

/// Ids of the processes of a pod, as this machine counts, whose command line holds this text.
fn processes(pod: &str, program: &str) -> Vec<u32> {
    let host = format!("HOSTNAME={pod}");
    let pids = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &u32| {
        let read = |file: &str| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let line = read("cmdline");
        let here = line.windows(program.len()).any(|part| part == program.as_bytes());
        here && read("environ").split(|byte| *byte == 0).any(|variable| variable == host.as_bytes())
    })
    .collect()
}

fn signal(pid: u32) {
    // a child that served a connection may have ended by itself
    let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).stderr(Stdio::null()).status().unwrap();
}

impl Outside {
    fn new(site: &Site) -> Self {
        let folder = site.cluster.run_dir().join("outside");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("index.html"), site::ANSWER).unwrap();
        let free = TcpListener::bind((site.cluster.host_address(), 0)).unwrap().local_addr().unwrap();
        let mut outside = Self { address: free, folder, child: None };
        outside.start();
        outside
    }

    fn start(&mut self) {
        let address = self.address.to_string();
        let mut httpd = Command::new("/bin/busybox");
        httpd.args(["httpd", "-f", "-p", &address, "-h"]).arg(&self.folder).stdin(Stdio::null());
        self.child = Some(httpd.spawn().unwrap());
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        self.kill();
    }
}

/// All of it, until it is dropped.
pub(crate) struct Field {
    pub(crate) operator: Option<Operator>,
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) board: Arc<Board>,
    pub(crate) count: Arc<Count>,
    site: Site,
    tasks: Vec<AbortHandle>,
}

impl Field {
    /// Makes the services, and waits until all endpoints are ready and all names answer.
    pub(crate) async fn set() -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let site = Site::new("bench-names");
        let outside = Outside::new(&site);
        for service in [web(), lab(), archive(outside.address)] {
            site.apply(&service.to_string());
        }
        let mut field = Self {
            operator: None,
            endpoints: Vec::new(),
            board: Arc::new(Board::new()),
            count: Arc::default(),
            site,
            tasks: Vec::new(),
        };
        field.start_operator();
        field.watch_slices().await;
        for (service, summary) in [("web", "2/2"), ("lab", "2/2"), ("archive", "1/1")] {
            until(&format!("all endpoints of {service} are ready"), LIMIT, || {
                let path = "{.status.endpointSummary}";
                (field.site.get(&format!("msvc/{service}"), path) == summary).then_some(())
            });
        }
        field.add_pod("pod, probed by the kubelet", "web-0", "web", "httpd\0", "web");
        field.add_pod("pod, asked for an HL7 acknowledgement", "lab-0", "lab", "nc\0", "adt");
        let virtual_address = field.site.get("svc/archive", "{.spec.clusterIP}");
        let [a, srv] = field.ask("archive", "http");
        let of_service = [Record { key: a, what: virtual_address }, Record { key: srv, what: field.name("archive") }];
        let address = outside.address.ip().to_string();
        field.endpoints.push(Endpoint {
            title: "process outside the cluster",
            process: Process::Outside(outside),
            address,
            slice: slice("archive"),
            records: Vec::new(),
        });
        until("all names answer", LIMIT, || {
            let now = field.board.now();
            let there = |key: &str, what: &str| now.get(key).is_some_and(|all| all.contains(what));
            let records = field.endpoints.iter().flat_map(|e| &e.records).chain(&of_service);
            let all = records.map(|r| (&r.key, &r.what)).chain(field.endpoints.iter().map(|e| (&e.slice, &e.address)));
            all.into_iter().all(|(key, what)| there(key, what)).then_some(())
        });
        field
    }

    /// Starts the shipped program.
    pub(crate) fn start_operator(&mut self) {
        self.operator = Some(Operator::start(&self.site));
    }

    /// An instance with names of its own in the headless Service of its kind.
    fn add_pod(&mut self, title: &'static str, pod: &'static str, service: &str, program: &'static str, port: &str) {
        let instances = format!("{service}-instances");
        let address = self.site.get(&format!("pod/{pod}"), "{.status.podIP}");
        let [a, srv] = self.ask(&instances, port);
        let host = format!("{pod}.{}", self.name(&instances));
        self.endpoints.push(Endpoint {
            title,
            process: Process::Pod(pod, program),
            slice: slice(&instances),
            records: vec![Record { key: a, what: address.clone() }, Record { key: srv, what: host }],
            address,
        });
    }

    fn name(&self, service: &str) -> String {
        format!("{service}.{}.svc.cluster.local", self.site.namespace)
    }

    /// Begins to ask for a Service's A records, and for the SRV records of its port; their keys.
    fn ask(&mut self, service: &str, port: &str) -> [String; 2] {
        let pods =
            ["-n", "kube-system", "get", "pod", "-l", "k8s-app=kube-dns", "-o", "jsonpath={.items[0].status.podIP}"];
        let server = SocketAddr::new(self.site.cluster.kubectl(&pods).unwrap().parse().unwrap(), 53);
        let name = self.name(service);
        let names = [(name.clone(), RecordType::A), (format!("_{port}._tcp.{name}"), RecordType::SRV)];
        names.map(|(name, record)| {
            let key = names::key(&name, record);
            let asking = names::ask(server, name, record, Arc::clone(&self.board), Arc::clone(&self.count));
            self.tasks.push(tokio::spawn(asking).abort_handle());
            key
        })
    }

    async fn watch_slices(&mut self) {
        let client = self.site.cluster.client().await.unwrap();
        let api: Api<EndpointSlice> = Api::namespaced(client, &self.site.namespace);
        let board = Arc::clone(&self.board);
        let task = tokio::spawn(async move {
            let all = watcher(api, watcher::Config::default()).default_backoff().applied_objects();
            let mut all = std::pin::pin!(all);
            // each Service here has so few endpoints that they are in one slice
            while let Some(found) = all.try_next().await.unwrap() {
                let ready = |c: Option<bool>| c != Some(false);
                let endpoints = found.endpoints.iter().flatten();
                let endpoints = endpoints.filter(|e| e.conditions.as_ref().is_none_or(|c| ready(c.ready)));
                let addresses = endpoints.flat_map(|e| e.addresses.iter().cloned()).collect();
                board.tell(&slice(&found.labels()["kubernetes.io/service-name"]), addresses);
            }
        });
        self.tasks.push(task.abort_handle());
    }
}

impl Drop for Field {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// The key on the board of a Service's slices.
fn slice(service: &str) -> String {
    format!("EndpointSlice of {service}")
}

/// A shell that starts a server anew when it is told to.
fn again_and_again(server: &str, word: &str) -> Value {
    let script = format!("/bin/busybox mkfifo {GATE}; while :; do {server}; read _ < {GATE}; done");
    json!(["/bin/sh", "-c", script, "sh", word])
}

fn workload(name: &str, command: Value, interface: Value) -> Value {
    json!({
        "apiVersion": "medley.health/v1alpha1", "kind": "MedicalService", "metadata": {"name": name},
        "spec": {
            "workload": {
                "image": site::IMAGE, "imagePullPolicy": "Never", "replicas": 2, "identity": "Stable",
                "command": command, "resources": {"requests": {"cpu": "10m"}},
            },
            "interfaces": [interface],
        },
    })
}

fn probe() -> Value {
    json!({"interval": "1s", "timeout": "1s", "failureThreshold": FAILURES, "successThreshold": 1})
}

fn web() -> Value {
    let command = again_and_again("/bin/httpd -f -p 8080 -h /etc", "");
    let interface = json!({"name": "web", "port": 8080, "protocol": "HTTP", "http": {"healthPath": "/index.html"}, "probe": probe()});
    workload("web", command, interface)
}

fn lab() -> Value {
    let command = again_and_again("/bin/busybox nc -ll -p 2575 -e /bin/sh -c \"$1\"", site::ACKNOWLEDGE);
    let mut probe = probe();
    probe["level"] = json!("Protocol");
    let hl7 = json!({"receivingApplication": "LAB"});
    workload("lab", command, json!({"name": "adt", "port": 2575, "protocol": "HL7v2", "hl7v2": hl7, "probe": probe}))
}

fn archive(address: SocketAddr) -> Value {
    json!({
        "apiVersion": "medley.health/v1alpha1", "kind": "MedicalService", "metadata": {"name": "archive"},
        "spec": {
            "external": {"endpoints": [{"host": address.ip().to_string()}]},
            "interfaces": [{"name": "http", "port": address.port(), "protocol": "HTTP", "probe": probe()}],
        },
    })
}
