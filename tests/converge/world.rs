//! The world around the operator: services that answer calls and probes, and a kubelet that moves pods.
//!
//! A process that was killed has no effect any more: its calls to the API server, to services and its probes hang for ever,
//! whatever of it is still polled.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use harness::simulated::{ApiServer, Call, Fault};
use medley::{
    api::{medical_service::EndpointReason, vocabulary::ErrorClass},
    core::{
        coordination::{
            outcome::{Answer, CallResult},
            view::StartCall,
        },
        discovery::{lookup::LookupFailure, target::ProbeTarget},
        monitoring::health::ProbeOutcome,
    },
    loops::{
        prober::ProbeIo,
        resolver::{self, LookupIo},
    },
    medical::http::CallIo,
    render::{ROLE_LABEL, STEP_LABEL},
};
use serde_json::{Value, json};
use tokio::{
    task::AbortHandle,
    time::{Instant, sleep, timeout},
};

/// How often the kubelet looks, and how long it takes to end a pod that is deleted.
pub(super) const TICK: Duration = Duration::from_millis(20);
const GRACE: Duration = Duration::from_millis(500);

/// One request that reached a service.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) key: String,
    pub(crate) path: String,
    pub(crate) by: String,
    pub(crate) to: SocketAddr,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<String>,
}

/// What a service answers, and after how long.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    after: Duration,
    what: CallResult,
}

/// An answer with this status and body.
pub(crate) fn answer(status: u16, body: Value) -> Reply {
    Reply { after: Duration::from_millis(50), what: CallResult::Answered(Answer { status, headers: Vec::new(), body }) }
}

/// An answer of a FHIR server.
pub(crate) fn fhir(status: u16, resource: Value) -> Reply {
    let headers = vec![("content-type".to_owned(), "application/fhir+json".to_owned())];
    let what = CallResult::Answered(Answer { status, headers, body: resource });
    Reply { after: Duration::from_millis(50), what }
}

/// The connection is refused: the request surely had no effect.
pub(crate) fn refused() -> Reply {
    let what = CallResult::Failed { class: ErrorClass::Connection, sent: false, message: "cannot connect".to_owned() };
    Reply { after: Duration::from_millis(1), what }
}

/// The connection breaks after the request was sent: it may have had an effect.
pub(crate) fn reset() -> Reply {
    let what =
        CallResult::Failed { class: ErrorClass::Connection, sent: true, message: "the connection broke".to_owned() };
    Reply { after: Duration::from_millis(20), what }
}

impl Reply {
    /// With this header besides.
    pub(crate) fn saying(mut self, name: &str, value: &str) -> Self {
        if let CallResult::Answered(answer) = &mut self.what {
            answer.headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    pub(crate) fn after(self, after: Duration) -> Self {
        Self { after, ..self }
    }
}

/// How a pod fares.
#[derive(Clone, Debug)]
pub(crate) struct Fate {
    pub(super) runs: Option<Duration>,
    end: End,
}

#[derive(Clone, Debug)]
enum End {
    Exit(i32, String),
    Evicted,
    Waits(&'static str),
    Unplaced,
}

impl Fate {
    /// Whether the container ends with exit code 0.
    pub(super) const fn is_good(&self) -> bool {
        matches!(self.end, End::Exit(0, _))
    }

    /// Whether the pod is taken away.
    pub(super) const fn is_evicted(&self) -> bool {
        matches!(self.end, End::Evicted)
    }

    /// Whether the kubelet gets to see the pod: only then its deadline counts.
    pub(super) const fn has_place(&self) -> bool {
        !matches!(self.end, End::Unplaced)
    }
}

/// Runs this long and ends well with this result.
pub(crate) fn works(runs: Duration, result: &Value) -> Fate {
    Fate { runs: Some(runs), end: End::Exit(0, result.to_string()) }
}

/// Ends with this exit code.
pub(crate) fn exits(code: i32) -> Fate {
    Fate { runs: Some(Duration::from_millis(200)), end: End::Exit(code, String::new()) }
}

/// Is evicted after this long.
pub(crate) fn evicted(runs: Duration) -> Fate {
    Fate { runs: Some(runs), end: End::Evicted }
}

/// Never starts: the container waits with this reason of the kubelet.
pub(crate) fn waits(reason: &'static str) -> Fate {
    Fate { runs: None, end: End::Waits(reason) }
}

/// The scheduler finds no place for it.
pub(crate) fn unplaced() -> Fate {
    Fate { runs: None, end: End::Unplaced }
}

/// Never ends by itself.
pub(crate) fn hangs() -> Fate {
    Fate { runs: None, end: End::Evicted }
}

type Plan = Box<dyn FnMut(&Call) -> Fault + Send>;

/// All that is outside the operator and the API server.
#[derive(Default)]
pub(crate) struct World {
    state: Mutex<State>,
    plan: Mutex<Option<Plan>>,
}

#[derive(Default)]
struct State {
    requests: Vec<Request>,
    replies: HashMap<String, Vec<Reply>>,
    fates: HashMap<String, Vec<Fate>>,
    sick: HashSet<IpAddr>,
    blind: HashSet<String>,
    dead: HashSet<String>,
    tasks: BTreeMap<String, AbortHandle>,
}

impl World {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// What each request to a path gets, in order; the last holds for all further ones.
    pub(crate) fn replies(&self, path: &str, replies: impl IntoIterator<Item = Reply>) {
        self.lock().replies.insert(path.to_owned(), replies.into_iter().collect());
    }

    /// How each attempt of a step's pod fares, in order; the last holds for all further ones.
    pub(crate) fn fates(&self, step: &str, fates: impl IntoIterator<Item = Fate>) {
        self.lock().fates.insert(step.to_owned(), fates.into_iter().collect());
    }

    /// How the pod of this attempt, from 0, of an item fares: the fates of `step[index]`.
    pub(super) fn fate_of_item(&self, step: &str, index: usize, attempt: usize) -> Fate {
        let state = self.lock();
        let fates = state.fates.get(&format!("{step}[{index}]")).or(state.fates.get(step));
        let fate = fates.and_then(|f| f.get(attempt).or(f.last())).cloned();
        fate.unwrap_or_else(|| works(Duration::from_millis(300), &json!({})))
    }

    /// All requests so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.lock().requests.clone()
    }

    /// How many requests a path got.
    pub(crate) fn asked(&self, path: &str) -> usize {
        self.lock().requests.iter().filter(|r| r.path == path).count()
    }

    /// Whether an address answers probes.
    pub(crate) fn set_well(&self, address: &str, well: bool) {
        let address = address.parse().unwrap();
        let mut state = self.lock();
        if well {
            state.sick.remove(&address)
        } else {
            state.sick.insert(address)
        };
    }

    /// Probes of this operator never end.
    pub(crate) fn blind(&self, operator: &str) {
        self.lock().blind.insert(operator.to_owned());
    }

    pub(super) fn started(&self, operator: &str, task: AbortHandle) {
        self.lock().tasks.insert(operator.to_owned(), task);
    }

    /// Ends an operator as SIGKILL does.
    pub(crate) fn kill(&self, operator: &str) {
        let mut state = self.lock();
        state.dead.insert(operator.to_owned());
        if let Some(task) = state.tasks.get(operator) {
            task.abort();
        }
    }

    pub(crate) fn is_dead(&self, operator: &str) -> bool {
        self.lock().dead.contains(operator)
    }

    /// What happens to calls to the API server from now on.
    pub(crate) fn faults(&self, plan: impl FnMut(&Call) -> Fault + Send + 'static) {
        *self.plan.lock().unwrap() = Some(Box::new(plan));
    }

    pub(crate) fn no_faults(&self) {
        *self.plan.lock().unwrap() = None;
    }

    pub(super) fn fate_of(&self, call: &Call) -> Fault {
        if self.is_dead(&call.user) {
            return Fault::CrashBefore(Box::new(|| {}));
        }
        self.plan.lock().unwrap().as_mut().map_or(Fault::None, |plan| plan(call))
    }

    /// Moves pods for ever.
    pub(super) async fn kubelet(self: Arc<Self>, server: ApiServer) {
        let mut pods: HashMap<String, Seen> = HashMap::new();
        let mut version = 0;
        loop {
            sleep(TICK).await;
            let present = server.resource_version();
            if present == version && pods.values().all(|p| p.stage == 2) {
                continue; // nothing moves: virtual hours pass quickly
            }
            version = present;
            for pod in server.objects("Pod") {
                let uid = pod["metadata"]["uid"].as_str().unwrap().to_owned();
                let seen = pods.entry(uid).or_insert_with(|| Seen { since: Instant::now(), stopping: None, stage: 0 });
                self.look(&server, &pod, seen);
            }
        }
    }

    fn look(&self, server: &ApiServer, pod: &Value, seen: &mut Seen) {
        let meta = &pod["metadata"];
        let (namespace, name) = (meta["namespace"].as_str().unwrap(), meta["name"].as_str().unwrap());
        if !meta["deletionTimestamp"].is_null() {
            if seen.stopping.get_or_insert_with(Instant::now).elapsed() >= GRACE {
                server.delete("Pod", namespace, name, 0).unwrap();
            }
            return;
        }
        let attempt: usize = meta["annotations"]["medley.health/attempt"].as_str().unwrap().parse().unwrap();
        let mut step = meta["labels"][STEP_LABEL].as_str().unwrap().to_owned();
        if meta["labels"][ROLE_LABEL].is_string() {
            step.push_str(".compensate");
        }
        let fate = {
            let state = self.lock();
            let fates = state.fates.get(&step);
            fates.and_then(|f| f.get(attempt - 1).or(f.last())).cloned()
        };
        let fate = fate.unwrap_or_else(|| works(Duration::from_millis(300), &json!({})));
        let now = server.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let stuck = match fate.end {
            End::Waits(reason) => {
                Some(json!({"containerStatuses": [{"name": "step", "ready": false, "restartCount": 0,
                "image": "i", "imageID": "", "state": {"waiting": {"reason": reason}}}]}))
            }
            End::Unplaced => {
                Some(json!({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]}))
            }
            End::Exit(..) | End::Evicted => None,
        };
        if let Some(status) = stuck {
            if seen.stage == 0 {
                seen.stage = 2;
                server.patch_status("Pod", namespace, name, &status).unwrap();
            }
            return;
        }
        if seen.stage == 0 && seen.since.elapsed() >= Duration::from_millis(100) {
            seen.stage = 1;
            let running = json!({"name": "step", "state": {"running": {"startedAt": now}}, "ready": true, "restartCount": 0,
                "image": "i", "imageID": "i"});
            server.patch("Pod", namespace, name, &json!({"spec": {"nodeName": "node-1"}})).unwrap();
            let status = json!({"phase": "Running", "startTime": now, "containerStatuses": [running]});
            server.patch_status("Pod", namespace, name, &status).unwrap();
            seen.since = Instant::now();
        } else if seen.stage == 1 && fate.runs.is_some_and(|r| seen.since.elapsed() >= r) {
            seen.stage = 2;
            let status = match fate.end {
                End::Exit(code, message) => {
                    let ended = json!({"exitCode": code, "reason": if code == 0 { "Completed" } else { "Error" },
                        "message": message, "finishedAt": now});
                    let container = json!({"name": "step", "state": {"terminated": ended, "running": null}, "ready": false,
                        "restartCount": 0, "image": "i", "imageID": "i"});
                    json!({"phase": if code == 0 { "Succeeded" } else { "Failed" }, "containerStatuses": [container]})
                }
                End::Evicted => json!({"phase": "Failed", "reason": "Evicted", "containerStatuses": []}),
                End::Waits(_) | End::Unplaced => return, // told above
            };
            server.patch_status("Pod", namespace, name, &status).unwrap();
        }
    }
}

struct Seen {
    since: Instant,
    stopping: Option<Instant>,
    stage: u8,
}

/// The network as one operator has it.
#[derive(Clone)]
pub(super) struct Network {
    pub(super) world: Arc<World>,
    pub(super) operator: String,
}

impl CallIo for Network {
    async fn call(&self, call: &StartCall) -> CallResult {
        if self.world.is_dead(&self.operator) {
            std::future::pending::<()>().await;
        }
        let reply = {
            let mut state = self.world.lock();
            let nth = state.requests.iter().filter(|r| r.path == call.path).count();
            let request = Request {
                key: call.idempotency_key.clone(),
                path: call.path.clone(),
                by: self.operator.clone(),
                to: call.endpoint,
                headers: call.headers.clone(),
                body: call.body.clone(),
            };
            state.requests.push(request);
            state.replies.get(&call.path).and_then(|r| r.get(nth).or(r.last())).cloned()
        };
        let reply = reply.unwrap_or_else(|| answer(200, json!({"ok": true})));
        let ended = timeout(call.timeout, sleep(reply.after)).await;
        if self.world.is_dead(&self.operator) {
            std::future::pending::<()>().await;
        }
        match ended {
            Ok(()) => reply.what,
            Err(_) => {
                CallResult::Failed { class: ErrorClass::Timeout, sent: true, message: "no whole answer".to_owned() }
            }
        }
    }
}

impl ProbeIo for Network {
    async fn probe(&self, target: &ProbeTarget) -> ProbeOutcome {
        if self.world.is_dead(&self.operator) || self.world.lock().blind.contains(&self.operator) {
            std::future::pending::<()>().await;
        }
        sleep(Duration::from_millis(5)).await;
        if self.world.lock().sick.contains(&target.endpoint.address) {
            ProbeOutcome::Failed(EndpointReason::TcpRefused)
        } else {
            ProbeOutcome::Answered
        }
    }
}

impl LookupIo for Network {
    async fn lookup(&self, _: &str) -> resolver::Answer {
        let failed = LookupFailure::NotFound;
        resolver::Answer { v4: Err(failed), v6: Err(failed), ttl: Duration::from_secs(60) }
    }
}
