//! The world around the operator: services that answer calls and probes, and how pods are to fare.
//!
//! A process that was killed has no effect any more: its calls to the API server, to services and its probes hang for ever,
//! whatever of it is still polled.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use harness::simulated::{Call, Fault};
use medley::{
    api::{medical_service::EndpointReason, vocabulary::ErrorClass},
    core::{
        coordination::{
            outcome::{Answer, CallResult},
            view::{HttpRequest, StartCall, Wire},
        },
        dicom::{Titles, find::Found},
        discovery::{
            lookup::LookupFailure,
            target::{ProbeTarget, Probed},
        },
        hl7::ack::{Ack, Code},
        monitoring::health::ProbeOutcome,
    },
    loops::{
        prober::ProbeIo,
        resolver::{self, LookupIo},
    },
    medical::calls::CallIo,
};
use serde_json::{Value, json};
use tokio::{
    task::AbortHandle,
    time::{sleep, timeout},
};

pub(crate) use super::fate::{Fate, evicted, exits, hangs, unplaced, vanishes, waits, works};

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

/// An acknowledgement of an HL7 message.
pub(crate) fn acknowledged(code: Code) -> Reply {
    let what = CallResult::Acknowledged(Ack { code, control_id: String::new(), error: None });
    Reply { after: Duration::from_millis(50), what }
}

/// An answer to C-ECHO.
pub(crate) fn echoed(status: u16) -> Reply {
    Reply { after: Duration::from_millis(50), what: CallResult::Echoed { status } }
}

/// An answer to C-FIND.
pub(crate) fn found(status: u16, matches: Value, complete: bool) -> Reply {
    let matches = serde_json::from_value(matches).unwrap();
    Reply { after: Duration::from_millis(50), what: CallResult::Found(Found { status, matches, complete }) }
}

/// No association for now: no echo was sent.
pub(crate) fn busy() -> Reply {
    let message = "the service takes no association now".to_owned();
    let what = CallResult::Failed { class: ErrorClass::Overloaded, sent: false, message };
    Reply { after: Duration::from_millis(5), what }
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

type Plan = Box<dyn FnMut(&Call) -> Fault + Send>;
type Answers = Arc<dyn Fn(&StartCall, &str) -> Reply + Send + Sync>;

/// All that is outside the operator and the API server.
#[derive(Default)]
pub(crate) struct World {
    state: Mutex<State>,
    plan: Mutex<Option<Plan>>,
    answers: Mutex<Option<Answers>>,
    /// How long probes take.
    pub(crate) delays: super::preferences::Delays,
    pub(crate) readings: super::preferences::Readings,
}

#[derive(Default)]
struct State {
    requests: Vec<Request>,
    /// How many requests each path got.
    asked: HashMap<String, usize>,
    replies: HashMap<String, Vec<Reply>>,
    fates: HashMap<String, Vec<Fate>>,
    /// What probes of an address find that is not well.
    sick: HashMap<IpAddr, EndpointReason>,
    /// SOP classes that nobody accepts any more.
    refused: HashSet<String>,
    blind: HashSet<String>,
    out_of_reach: HashSet<(String, IpAddr)>,
    dead: HashSet<String>,
    /// Calls at work, and the most there ever were, by endpoint and the operator that makes them.
    at_work: HashMap<(SocketAddr, String), (u32, u32)>,
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

    /// Each request gets from now on what this says, given it and the operator that makes it, and none is written down here.
    pub(crate) fn answers(&self, answers: impl Fn(&StartCall, &str) -> Reply + Send + Sync + 'static) {
        *self.answers.lock().unwrap() = Some(Arc::new(answers));
    }

    /// How each attempt of a step's pod fares, in order; the last holds for all further ones.
    pub(crate) fn fates(&self, step: &str, fates: impl IntoIterator<Item = Fate>) {
        self.lock().fates.insert(step.to_owned(), fates.into_iter().collect());
    }

    /// How the pod of this attempt of a step, from 0, fares.
    pub(super) fn fate_of_pod(&self, step: &str, attempt: usize) -> Fate {
        fate(self.lock().fates.get(step), attempt)
    }

    /// How the pod of this attempt, from 0, of an item fares: the fates of `step[index]`.
    pub(super) fn fate_of_item(&self, step: &str, index: usize, attempt: usize) -> Fate {
        let state = self.lock();
        fate(state.fates.get(&format!("{step}[{index}]")).or(state.fates.get(step)), attempt)
    }

    /// All requests so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.lock().requests.clone()
    }

    /// How many requests a path got.
    pub(crate) fn asked(&self, path: &str) -> usize {
        self.lock().asked.get(path).copied().unwrap_or(0)
    }

    /// The most calls of an operator that an endpoint had at work at a time.
    pub(crate) fn most_at_work(&self, operator: &str, address: &str) -> u32 {
        let (state, address) = (self.lock(), address.parse::<IpAddr>().unwrap());
        let of =
            |((endpoint, by), _): &(&(SocketAddr, String), &(u32, u32))| endpoint.ip() == address && by == operator;
        state.at_work.iter().filter(of).map(|(_, (_, most))| *most).max().unwrap_or(0)
    }

    /// Whether an address answers probes.
    pub(crate) fn set_well(&self, address: &str, well: bool) {
        let address = address.parse().unwrap();
        let mut state = self.lock();
        if well {
            state.sick.remove(&address)
        } else {
            state.sick.insert(address, EndpointReason::TcpRefused)
        };
    }

    /// What probes of an address find from now on.
    pub(crate) fn fails(&self, address: &str, reason: EndpointReason) {
        self.lock().sick.insert(address.parse().unwrap(), reason);
    }

    /// No DICOM service accepts this SOP class any more.
    pub(crate) fn refuse(&self, class: &str) {
        self.lock().refused.insert(class.to_owned());
    }

    /// Probes of this operator never end.
    pub(crate) fn blind(&self, operator: &str) {
        self.lock().blind.insert(operator.to_owned());
    }

    /// No probe of this operator reaches an address.
    pub(crate) fn put_out_of_reach(&self, operator: &str, address: &str) {
        self.lock().out_of_reach.insert((operator.to_owned(), address.parse().unwrap()));
    }

    pub(super) fn started(&self, operator: &str, task: AbortHandle) {
        self.lock().tasks.insert(operator.to_owned(), task);
    }

    fn reply(&self, call: &StartCall, operator: &str) -> Reply {
        if let Some(answers) = self.answers.lock().unwrap().clone() {
            return answers(call, operator);
        }
        let mut state = self.lock();
        let (path, headers, body) = match &call.wire {
            Wire::Http(HttpRequest { path, headers, body, .. }) => (path.clone(), headers.clone(), body.clone()),
            Wire::Echo(titles) => (echo_of(titles), Vec::new(), None),
            Wire::Find(titles, query) => {
                (format!("C-FIND {} -> {}", titles.calling, titles.called), Vec::new(), Some(format!("{query:?}")))
            }
            Wire::Hl7v2(message) => ("HL7v2".to_owned(), Vec::new(), Some(message.clone())),
        };
        let count = state.asked.entry(path.clone()).or_default();
        let nth = std::mem::replace(count, *count + 1);
        let request = Request {
            key: call.idempotency_key.clone(),
            path: path.clone(),
            by: operator.to_owned(),
            to: call.endpoint,
            headers,
            body,
        };
        state.requests.push(request);
        let reply = state.replies.get(&path).and_then(|r| r.get(nth).or(r.last())).cloned();
        reply.unwrap_or_else(|| match call.wire {
            Wire::Http(_) => answer(200, json!({"ok": true})),
            Wire::Echo(_) => echoed(0),
            Wire::Find(..) => found(0, json!([]), true),
            Wire::Hl7v2(_) => acknowledged(Code::Accepted),
        })
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

    /// An operator dies before or after the `k`th of its calls to the API server that count, from 1.
    pub(crate) fn dies_at(
        self: &Arc<Self>,
        operator: &'static str,
        k: usize,
        after: bool,
        counts: impl Fn(&Call) -> bool + Send + 'static,
    ) {
        let (world, mut seen) = (Arc::clone(self), 0);
        self.faults(move |call| {
            seen += usize::from(call.user == operator && counts(call));
            if call.user != operator || !counts(call) || seen != k {
                return Fault::None;
            }
            let world = Arc::clone(&world);
            let kill = Box::new(move || world.kill(operator));
            if after { Fault::CrashAfter(kill) } else { Fault::CrashBefore(kill) }
        });
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
}

/// What stands for the path of an echo.
fn echo_of(titles: &Titles) -> String {
    format!("C-ECHO {} -> {}", titles.calling, titles.called)
}

/// What a call says in HTTP.
pub(crate) fn request_of(call: &StartCall) -> &HttpRequest {
    match &call.wire {
        Wire::Http(request) => request,
        other => panic!("not in HTTP: {other:?}"),
    }
}

fn fate(fates: Option<&Vec<Fate>>, attempt: usize) -> Fate {
    let fate = fates.and_then(|f| f.get(attempt).or(f.last())).cloned();
    fate.unwrap_or_else(|| works(Duration::from_millis(300), &json!({})))
}

/// A call that an endpoint works on; it does not when the caller drops it.
struct AtWork<'w>(&'w World, (SocketAddr, String));

impl<'w> AtWork<'w> {
    fn new(world: &'w World, at: (SocketAddr, String)) -> Self {
        let mut state = world.lock();
        let (now, most) = state.at_work.entry(at.clone()).or_default();
        *now += 1;
        *most = (*now).max(*most);
        drop(state);
        Self(world, at)
    }
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        if let Some((now, _)) = self.0.lock().at_work.get_mut(&self.1) {
            *now -= 1;
        }
    }
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
        let reply = self.world.reply(call, &self.operator);
        let at_work = AtWork::new(&self.world, (call.endpoint, self.operator.clone()));
        let ended = timeout(call.timeout, sleep(reply.after)).await;
        drop(at_work);
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
    async fn probe(&self, target: &ProbeTarget) -> Probed {
        if self.world.is_dead(&self.operator) || self.world.lock().blind.contains(&self.operator) {
            std::future::pending::<()>().await;
        }
        sleep(self.world.delays.of(target.endpoint.address)).await;
        let (state, address) = (self.world.lock(), target.endpoint.address);
        if state.out_of_reach.contains(&(self.operator.clone(), address)) {
            return ProbeOutcome::Failed(EndpointReason::TcpRefused).into();
        }
        match state.sick.get(&address) {
            Some(reason) => ProbeOutcome::Failed(*reason).into(),
            None => super::dicom::probed(&target.kind, &state.refused),
        }
    }
}

impl LookupIo for Network {
    async fn lookup(&self, _: &str) -> resolver::Answer {
        let failed = LookupFailure::NotFound;
        resolver::Answer { v4: Err(failed), v6: Err(failed), ttl: Duration::from_secs(60) }
    }
}
