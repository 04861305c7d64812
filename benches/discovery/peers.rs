//! The endpoints that are probed: a process of their own, so that its processor time and its sockets are not the operator's.
//!
//! It listens on the loopback device, for all addresses of the range and with one port a protocol, notes when it was connected to, and
//! is talked to by lines on its standard input, each answered by a line of JSON.

use std::{
    collections::{HashMap, HashSet},
    io::{BufRead, BufReader, Lines, Write},
    net::{IpAddr, Ipv4Addr},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};

use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpSocket};

use super::{
    figures::quantile,
    protocols::{Answers, Kind},
};

/// The argument that makes this program the endpoints.
pub(crate) const ARGUMENT: &str = "peers";
/// Time between two probes of an endpoint.
pub(crate) const INTERVAL: Duration = Duration::from_secs(10);

/// The endpoints, as the bench sees them. They end with it.
pub(crate) struct Peers {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    ports: Value,
}

impl Peers {
    /// Starts them.
    pub(crate) fn start() -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg(ARGUMENT)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut peers = Self { child, input, output, ports: Value::Null };
        peers.ports = peers.hear();
        peers
    }

    /// The port where endpoints of this kind listen.
    pub(crate) fn port(&self, kind: Kind) -> u64 {
        self.ports[kind.name()].as_u64().unwrap()
    }

    /// Id of the process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Forgets when connections came.
    pub(crate) fn clear(&mut self) {
        self.ask("clear");
    }

    /// How far the times between two connections to the same endpoint are from [`INTERVAL`], in milliseconds: p50, p99 and the most,
    /// and how many there were.
    pub(crate) fn deviations(&mut self) -> [f64; 4] {
        let told = self.ask("deviations");
        [0, 1, 2, 3].map(|i| told[i].as_f64().unwrap())
    }

    /// From now on, the endpoint with this address answers HTTP in this way.
    pub(crate) fn turn(&mut self, address: Ipv4Addr, well: bool) {
        self.ask(&format!("{} {address}", if well { "well" } else { "sick" }));
    }

    /// When the first probe came to the endpoint that it answers in its present way, as the time since 1970; `None` until one has.
    pub(crate) fn turned(&mut self, address: Ipv4Addr) -> Option<Duration> {
        self.ask(&format!("turned {address}")).as_f64().map(Duration::from_secs_f64)
    }

    /// How long ago the last probe came to the endpoint.
    pub(crate) fn since(&mut self, address: Ipv4Addr) -> Option<Duration> {
        self.ask(&format!("since {address}")).as_f64().map(Duration::from_secs_f64)
    }

    fn ask(&mut self, line: &str) -> Value {
        writeln!(self.input, "{line}").unwrap();
        self.hear()
    }

    fn hear(&mut self) -> Value {
        serde_json::from_str(&self.output.next().unwrap().unwrap()).unwrap()
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        // both fail only when the process has ended and was waited for
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the endpoints know.
#[derive(Default)]
struct Seen {
    last: HashMap<IpAddr, Instant>,
    deviations: Vec<f64>,
    sick: HashSet<IpAddr>,
    /// Endpoints that were turned; when the first connection came since.
    turned: HashMap<IpAddr, Option<Duration>>,
}

impl Seen {
    /// A connection has come; whether the endpoint is sick.
    fn came(&mut self, address: IpAddr) -> bool {
        let now = Instant::now();
        if let Some(last) = self.last.insert(address, now) {
            self.deviations.push(((now - last).as_secs_f64() - INTERVAL.as_secs_f64()).abs() * 1e3);
        }
        if let Some(when @ None) = self.turned.get_mut(&address) {
            *when = Some(SystemTime::UNIX_EPOCH.elapsed().unwrap());
        }
        self.sick.contains(&address)
    }

    fn told(&mut self, line: &str) -> Value {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let address = || rest.parse::<IpAddr>().unwrap();
        match verb {
            "clear" => {
                self.last.clear();
                self.deviations.clear();
                Value::Null
            }
            "deviations" => {
                let all = &mut self.deviations;
                json!([quantile(all, 0.5), quantile(all, 0.99), quantile(all, 1.0), all.len()])
            }
            "sick" | "well" => {
                if verb == "sick" {
                    self.sick.insert(address());
                } else {
                    self.sick.remove(&address());
                }
                self.turned.insert(address(), None);
                Value::Null
            }
            "turned" => json!(self.turned.get(&address()).copied().flatten().map(|at| at.as_secs_f64())),
            "since" => json!(self.last.get(&address()).map(|at| at.elapsed().as_secs_f64())),
            other => panic!("`{other}` is nothing that endpoints are told"),
        }
    }
}

/// Is the endpoints until standard input ends.
pub(crate) fn serve() {
    let seen = Arc::new(Mutex::new(Seen::default()));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let answers = Arc::new(Answers::new());
    let ports: HashMap<&str, u16> = Kind::ALL
        .into_iter()
        .map(|kind| {
            let listener = runtime.block_on(async { listen() });
            let port = listener.local_addr().unwrap().port();
            runtime.spawn(accept(kind, listener, Arc::clone(&seen), Arc::clone(&answers)));
            (kind.name(), port)
        })
        .collect();
    let mut output = std::io::stdout();
    writeln!(output, "{}", json!(ports)).unwrap();
    for line in std::io::stdin().lines() {
        let told = seen.lock().unwrap().told(&line.unwrap());
        writeln!(output, "{told}").unwrap();
    }
}

/// A listener for all addresses that nothing outside the machine reaches.
fn listen() -> TcpListener {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind_device(Some(b"lo")).unwrap();
    socket.bind((Ipv4Addr::UNSPECIFIED, 0).into()).unwrap();
    socket.listen(4096).unwrap()
}

async fn accept(kind: Kind, listener: TcpListener, seen: Arc<Mutex<Seen>>, answers: Arc<Answers>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let Ok(address) = stream.local_addr().map(|a| a.ip()) else { continue };
        let sick = seen.lock().unwrap().came(address);
        let answers = Arc::clone(&answers);
        tokio::spawn(async move { answers.answer(kind, sick, stream).await });
    }
}
