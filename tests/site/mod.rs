//! What the tests on a real node share: a namespace of their own, the shipped binary, a server outside the cluster.

#![allow(dead_code, reason = "tests and benches each use their part")]
#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests, outside any #[test] function

use std::{
    fs::{self, File},
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use harness::cluster::{Cluster, oci};

/// busybox that runs as a user other than root.
pub(crate) const IMAGE: &str = "localhost/medley-test-busybox:1";
/// What the server outside the cluster answers.
pub(crate) const ANSWER: &str = "hello-from-outside";
/// What the workload's page holds.
pub(crate) const PAGE: &str = "hello-from-workload";
/// Acknowledges one HL7 message from its input, unless it is to be sick.
pub(crate) const ACKNOWLEDGE: &str = r#"[ -e /dev/shm/sick ] && exit 0; exec /bin/busybox awk 'BEGIN { RS = "\034"; FS = "|" } { printf "\013MSH|^~\\&|LAB|NORTH|MEDLEY|PROBE|20260101||ACK|1|P|2.5.1\rMSA|AA|%s\r\034\r", $10; fflush(); exit }'"#;

/// Polls until there is a value; panics with what was waited for.
pub(crate) fn until<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(Instant::now() < end, "not within {limit:?}: {what}");
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

/// A namespace with a client pod.
pub(crate) struct Site {
    pub(crate) cluster: Cluster,
    pub(crate) namespace: String,
}

impl Site {
    pub(crate) fn new(name: &str) -> Self {
        let cluster = Cluster::from_env().unwrap();
        let namespace = format!("test-{name}-{}", std::process::id());
        cluster.kubectl(&["create", "namespace", &namespace]).unwrap();
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/crds");
        cluster.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", root]).unwrap();
        cluster.kubectl(&["wait", "--for=condition=Established", "--timeout=30s", "-f", root]).unwrap();
        let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/medley");
        let classes =
            cluster.helm(&["template", "medley", chart, "--show-only", "templates/priorityclasses.yaml"]).unwrap();
        cluster.kubectl_with_input(&["apply", "-f", "-"], &classes).unwrap();
        let site = Self { cluster, namespace };
        site.import_image();
        site.kubectl(&[
            "run",
            "client",
            &format!("--image={IMAGE}"),
            "--image-pull-policy=Never",
            "--restart=Never",
            "--command",
            "--",
            "/bin/sleep",
            "3600",
        ]);
        site.kubectl(&["wait", "--for=condition=Ready", "--timeout=60s", "pod/client"]);
        site
    }

    fn import_image(&self) {
        let folder = self.cluster.run_dir().join(format!("image-{}", self.namespace));
        let root = folder.join("root");
        fs::create_dir_all(root.join("bin")).unwrap();
        fs::create_dir_all(root.join("etc")).unwrap();
        fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
        for applet in ["httpd", "nslookup", "sleep", "wget", "sh"] {
            std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).unwrap();
        }
        fs::write(root.join("etc/index.html"), PAGE).unwrap();
        let archive = folder.join("image.tar");
        let image = oci::Image {
            name: IMAGE.to_owned(),
            entrypoint: vec!["/bin/sh".to_owned()],
            user: Some("65532".to_owned()),
            env: vec!["PATH=/bin".to_owned()],
        };
        image.write(&root, &archive).unwrap();
        self.cluster.import_image(&archive).unwrap();
        fs::remove_dir_all(folder).unwrap();
    }

    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        self.cluster.kubectl(&[&["-n", &self.namespace], arguments].concat()).unwrap()
    }

    pub(crate) fn apply(&self, manifests: &str) {
        self.cluster.kubectl_with_input(&["apply", "-n", &self.namespace, "-f", "-"], manifests).unwrap();
    }

    pub(crate) fn get(&self, what: &str, path: &str) -> String {
        let path = format!("jsonpath={path}");
        let arguments: Vec<&str> = ["get"].into_iter().chain(what.split(' ')).chain(["-o", &path]).collect();
        self.kubectl(&arguments)
    }

    pub(crate) fn try_in_pod(&self, command: &[&str]) -> Option<String> {
        let arguments = [&["-n", &self.namespace, "exec", "client", "--"], command].concat();
        self.cluster.kubectl(&arguments).ok()
    }

    pub(crate) fn in_pod(&self, command: &[&str]) -> String {
        until(&format!("{command:?} in a pod"), Duration::from_secs(20), || self.try_in_pod(command))
    }

    /// Address of this machine as pods reach it.
    pub(crate) fn host(&self) -> String {
        self.cluster.host_address().to_string()
    }

    /// A server outside the cluster.
    pub(crate) fn serve(&self) -> Outside {
        let address = SocketAddr::new(self.cluster.host_address(), 0);
        let listener = TcpListener::bind(address).unwrap();
        let outside = Outside { address: listener.local_addr().unwrap(), running: std::sync::Mutex::new(None) };
        outside.run(listener);
        outside
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = self.cluster.kubectl(&["delete", "namespace", &self.namespace, "--wait=false"]);
    }
}

/// The shipped binary, run beside the cluster; ended with the test.
pub(crate) struct Operator(Child);

impl Operator {
    pub(crate) fn start(site: &Site) -> Self {
        let log = File::create(site.cluster.log_dir().join(format!("operator-{}.log", site.namespace))).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_medley"))
            .arg("operator")
            .env("KUBECONFIG", site.cluster.kubeconfig())
            .env("MEDLEY_NAMESPACES", &site.namespace)
            .env("MEDLEY_LEASE_NAMESPACE", &site.namespace)
            .env("MEDLEY_LISTEN", "127.0.0.1:0")
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self(child)
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An HTTP server that can be stopped and started on the same port.
pub(crate) struct Outside {
    address: SocketAddr,
    running: std::sync::Mutex<Option<Running>>,
}

struct Running {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Outside {
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    fn run(&self, listener: TcpListener) {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if told.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(mut stream) = stream else { continue };
                let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
                let _ = stream.read(&mut [0_u8; 4096]);
                let _ = write!(
                    stream,
                    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{ANSWER}",
                    ANSWER.len()
                );
            }
        });
        *self.running.lock().unwrap() = Some(Running { stop, thread });
    }

    /// Stops it: nothing listens afterwards.
    pub(crate) fn pause(&self) {
        if let Some(running) = self.running.lock().unwrap().take() {
            running.stop.store(true, Ordering::SeqCst);
            let _ = TcpStream::connect(self.address);
            running.thread.join().unwrap();
        }
    }

    /// Starts it again.
    pub(crate) fn resume(&self) {
        let listener =
            until("the port is free again", Duration::from_secs(10), || TcpListener::bind(self.address).ok());
        self.run(listener);
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        self.pause();
    }
}
