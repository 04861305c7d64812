//! What the node profile promises: real pods, cluster DNS, Services with and without a selector, reachable from pods and
//! from the host, and limits that are in force.

#![allow(clippy::unwrap_used)] // helpers of tests, outside any #[test] function

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use harness::cluster::images::BUSYBOX;
use harness::cluster::{Cluster, DNS_ADDRESS, HOST_ADDRESS, Profile};

/// Everything the checks look at, set up once.
struct Site {
    cluster: Cluster,
    namespace: String,
    service: String,
    pod: String,
    outside: String,
}

fn site() -> &'static Site {
    static SITE: OnceLock<Site> = OnceLock::new();
    SITE.get_or_init(set_up)
}

const LABEL: &str = "medley.test/check=node";

fn set_up() -> Site {
    let cluster = Cluster::from_env().unwrap();
    assert_eq!(cluster.profile(), Profile::Node, "run these through `cluster run node`");
    assert_eq!(cluster.host_address().to_string(), HOST_ADDRESS);
    // those of earlier runs on the same cluster
    cluster.kubectl(&["delete", "namespace", "--selector", LABEL, "--wait=false"]).unwrap();
    let namespace = format!("check-{}", std::process::id());
    cluster.kubectl(&["create", "namespace", &namespace]).unwrap();
    cluster.kubectl(&["label", "namespace", &namespace, LABEL]).unwrap();
    let port = serve_outside(&cluster);
    cluster.kubectl_with_input(&["apply", "-n", &namespace, "-f", "-"], &manifests(port)).unwrap();
    let wait = |condition: &str, what: &[&str]| {
        let condition = format!("--for={condition}");
        cluster.kubectl(&[&["wait", "-n", &namespace, "--timeout=60s", &condition], what].concat()).unwrap();
    };
    wait("condition=Ready", &["pod/server", "pod/client"]);
    wait("condition=Complete", &["job/hello"]);
    let get = |what: &str, path: &str| {
        cluster.kubectl(&["get", "-n", &namespace, what, "-o", &format!("jsonpath={{{path}}}")]).unwrap()
    };
    let (service, pod) = (get("service/web", ".spec.clusterIP"), get("pod/server", ".status.podIP"));
    let outside = get("service/outside", ".spec.clusterIP");
    Site { service, pod, outside, namespace, cluster }
}

/// A service beyond the cluster: an HTTP server on the host's end of the link.
fn serve_outside(cluster: &Cluster) -> u16 {
    let listener = TcpListener::bind((cluster.host_address(), 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            answer(stream);
        }
    });
    port
}

fn answer(mut stream: TcpStream) {
    let mut request = [0; 1024];
    // a client that goes away early is no concern of this server
    let _ = stream.read(&mut request);
    let _ = stream.write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 18\r\n\r\nhello-from-outside");
}

fn manifests(outside: u16) -> String {
    format!(
        r#"
apiVersion: v1
kind: Pod
metadata: {{name: server, labels: {{app: web}}}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: c
    image: {BUSYBOX}
    command: [sh, -c, 'echo hello-from-$HOSTNAME > /tmp/index.html; exec httpd -f -p 8080 -h /tmp']
    readinessProbe: {{httpGet: {{path: /index.html, port: 8080}}, periodSeconds: 1}}
    resources: {{limits: {{memory: 32Mi, cpu: 100m}}}}
    securityContext: {{runAsUser: 1000, runAsNonRoot: true, allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}, seccompProfile: {{type: RuntimeDefault}}}}
    volumeMounts: [{{name: tmp, mountPath: /tmp}}]
  volumes: [{{name: tmp, emptyDir: {{}}}}]
---
apiVersion: v1
kind: Pod
metadata: {{name: client}}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{{name: c, image: {BUSYBOX}, command: [sleep, infinity]}}]
---
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec: {{selector: {{app: web}}, ports: [{{name: http, port: 80, targetPort: 8080}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: web-headless}}
spec: {{clusterIP: None, selector: {{app: web}}, ports: [{{name: http, port: 8080}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: outside}}
spec: {{ports: [{{name: http, port: 80, targetPort: {outside}}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: outside-1, labels: {{kubernetes.io/service-name: outside, endpointslice.kubernetes.io/managed-by: cluster-check}}}}
addressType: IPv4
ports: [{{name: http, port: {outside}, protocol: TCP}}]
endpoints: [{{addresses: [{HOST_ADDRESS}], conditions: {{ready: true}}}}]
---
# it tries again: a Service without a ready endpoint yet refuses at once
apiVersion: batch/v1
kind: Job
metadata: {{name: hello}}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      containers: [{{name: c, image: {BUSYBOX}, command: [sh, -c, 'echo job says $((6*7)); until wget -qO- http://web/; do sleep 0.2; done']}}]
"#
    )
}

impl Site {
    /// What a command in a pod says, whether it succeeds or not.
    fn in_pod(&self, pod: &str, command: &[&str]) -> String {
        let arguments = [&["exec", "-n", &self.namespace, pod, "--"], command].concat();
        self.cluster.kubectl(&arguments).unwrap_or_else(|error| format!("{error:#}"))
    }

    fn client(&self, command: &[&str]) -> String {
        self.in_pod("client", command)
    }

    fn full(&self, service: &str) -> String {
        format!("{service}.{}.svc.cluster.local", self.namespace)
    }

    /// Programming a Service into the node takes a moment after its endpoint is there.
    fn fetch(&self, pod: &str, url: &str, want: &str) {
        // busybox's own -T crashes when linked statically
        eventually(want, || self.in_pod(pod, &["timeout", "5", "wget", "-qO-", url]));
    }
}

/// Polls `look` until it says `want`; 20 seconds at most.
fn eventually(want: &str, mut look: impl FnMut() -> String) {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let seen = look();
        if seen.contains(want) {
            return;
        }
        assert!(Instant::now() < end, "wanted `{want}`, got: {seen}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// GET from this process, on the host.
fn get(address: &str, port: u16) -> String {
    let attempt = || -> std::io::Result<String> {
        let mut stream =
            TcpStream::connect_timeout(&format!("{address}:{port}").parse().unwrap(), Duration::from_secs(5))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"GET /index.html HTTP/1.0\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    };
    attempt().unwrap_or_else(|error| {
        let mut text = String::new();
        write!(text, "{error}").unwrap();
        text
    })
}

/// One test a promise, each named after it.
macro_rules! promises {
    ($($(#[$meta:meta])* fn $name:ident($site:ident) $body:block)*) => {$(
        #[test]
        #[ignore = "needs a real node: run through `cluster run node`"]
        fn $name() {
            let $site = site();
            $body
        }
    )*};
}

promises! {
    fn dns_gives_a_services_address_for_its_full_name(site) {
        eventually(&site.service, || site.client(&["nslookup", &site.full("web")]));
    }

    fn dns_completes_a_short_name(site) {
        site.fetch("client", "http://web/", "hello-from-server");
    }

    fn dns_gives_the_pods_of_a_headless_service(site) {
        eventually(&site.pod, || site.client(&["nslookup", &site.full("web-headless")]));
    }

    fn dns_gives_a_services_address_without_selector(site) {
        eventually(&site.outside, || site.client(&["nslookup", &site.full("outside")]));
    }

    fn dns_denies_unknown_names(site) {
        eventually("NXDOMAIN", || site.client(&["nslookup", &site.full("nothing")]));
    }

    fn dns_gives_the_port_of_a_named_port(site) {
        for service in ["web", "outside"] {
            let name = site.full(service);
            // priority, weight, port, target
            let want = format!("80 {name}");
            eventually(&want, || site.client(&["nslookup", "-type=srv", &format!("_http._tcp.{name}")]));
        }
    }

    fn dns_answers_expire_within_five_seconds(site) {
        let answer = dig(&site.full("web"));
        assert!((1..=5).contains(&answer.ttl), "ttl {}", answer.ttl);
        assert_eq!(answer.address, site.service);
    }

    fn http_by_full_name(site) {
        site.fetch("client", &format!("http://{}/", site.full("web")), "hello-from-server");
    }

    fn http_through_a_hand_written_slice(site) {
        site.fetch("client", &format!("http://{}/", site.full("outside")), "hello-from-outside");
    }

    fn tcp_by_name(site) {
        let name = site.full("web");
        eventually("open", || site.client(&["sh", "-c", &format!("nc -w 3 {name} 80 </dev/null && echo open")]));
    }

    fn a_pod_reaches_itself_through_its_service(site) {
        site.fetch("server", "http://web/", "hello-from-server");
    }

    fn the_host_reaches_a_service(site) {
        eventually("hello-from-server", || get(&site.service, 80));
    }

    fn the_host_reaches_a_pod(site) {
        eventually("hello-from-server", || get(&site.pod, 8080));
    }

    fn a_job_completes_and_its_log_can_be_read(site) {
        let log = site.cluster.kubectl(&["logs", "-n", &site.namespace, "job/hello"]).unwrap();
        assert!(log.contains("job says 42") && log.contains("hello-from-server"), "{log}");
    }

    fn the_node_has_no_route_out(site) {
        // asked of the routing table: what a pod sees is unreachable or a time-out, since the answer is rate limited
        let error = site.cluster.in_node_network(&["ip", "route", "get", "192.0.2.1"]).unwrap_err();
        assert!(format!("{error:#}").contains("unreachable"), "{error:#}");
    }

    fn the_seccomp_filter_is_in_force(site) {
        let seccomp = site.in_pod("server", &["grep", "Seccomp:", "/proc/1/status"]);
        assert_eq!(seccomp.split_whitespace().collect::<Vec<_>>(), ["Seccomp:", "2"]);
    }

    fn the_memory_limit_is_in_force(site) {
        let read = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max";
        assert_eq!(site.in_pod("server", &["sh", "-c", read]).trim(), "33554432");
    }

    fn an_imported_image_runs_as_its_user(site) {
        let dir = std::env::temp_dir().join(format!("medley-check-image-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("root/bin")).unwrap();
        std::fs::copy("/bin/busybox", dir.join("root/bin/busybox")).unwrap();
        let image = harness::cluster::oci::Image {
            name: "localhost/check:1".into(),
            entrypoint: ["/bin/busybox", "sh", "-c", "echo $GREETING $(/bin/busybox id -u)"].map(String::from).into(),
            user: Some("1234:1234".into()),
            env: vec!["GREETING=hello".into()],
        };
        let archive = dir.join("check.tar");
        image.write(&dir.join("root"), &archive).unwrap();
        site.cluster.import_image(&archive).unwrap();
        std::fs::remove_dir_all(&dir).unwrap();
        site.cluster.kubectl(&["run", "-n", &site.namespace, "check", "--image=localhost/check:1", "--restart=Never"]).unwrap();
        site.cluster
            .kubectl(&["wait", "-n", &site.namespace, "--for=jsonpath={.status.phase}=Succeeded", "pod/check", "--timeout=60s"])
            .unwrap();
        assert_eq!(site.cluster.kubectl(&["logs", "-n", &site.namespace, "check"]).unwrap().trim(), "hello 1234");
    }

    fn the_audit_log_names_service_accounts(site) {
        let lists = |event: &harness::cluster::audit::Event| {
            event.username() == "system:serviceaccount:kube-system:coredns" && event.verb == "watch" && event.uri.contains("endpointslices")
        };
        eventually("true", || site.cluster.audit().unwrap().iter().any(lists).to_string());
    }
}

struct Answer {
    ttl: u32,
    address: String,
}

/// Asks cluster DNS from the host for an address, over UDP, with a minimal client: a resolver would hide the TTL.
fn dig(name: &str) -> Answer {
    let mut question = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        question.push(u8::try_from(label.len()).unwrap());
        question.extend(label.as_bytes());
    }
    question.extend([0, 0, 1, 0, 1]);
    let socket = std::net::UdpSocket::bind((HOST_ADDRESS, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket.send_to(&question, (DNS_ADDRESS, 53)).unwrap();
    let mut reply = [0; 512];
    let length = socket.recv(&mut reply).unwrap();
    let reply = &reply[..length];
    assert_eq!(reply[3] & 15, 0, "response code");
    assert_eq!(u16::from_be_bytes([reply[6], reply[7]]), 1, "number of answers");
    // the answer ends the reply, but for additional records: name, type, class, ttl, length, address
    let mut at = question.len();
    while reply[at] != 0 && reply[at] < 0xc0 {
        at += 1 + usize::from(reply[at]);
    }
    at += if reply[at] == 0 { 1 } else { 2 };
    let ttl = u32::from_be_bytes(reply[at + 4..at + 8].try_into().unwrap());
    let address = &reply[at + 10..at + 14];
    Answer { ttl, address: address.iter().map(u8::to_string).collect::<Vec<_>>().join(".") }
}
