//! What a decision about a run is made from, and what it asks for: plain values in the words of the domain.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    api::{
        WorkflowRun, WorkflowRunStatus,
        dicom::DicomInterface,
        tls::Pem,
        vocabulary::{Protocol, Urgency},
        workflow_run::RunPhase,
    },
    core::{
        coordination::{
            capacity::SchedulingView, definition::Definition, forecast::Model, outcome::CallOutcome, risk::Outlook,
        },
        discovery::target::{ClientName, TlsTarget},
        dispatch::{Limits, Load, Turn},
        note::Note,
        refusal::Refusal,
        scheduling::Demand,
    },
};

pub use super::share::ServiceShare;
pub use super::wish::{
    CallAsk, HttpRequest, LaneKey, Mount, StartCall, StartClaim, StartJob, StartPod, StartRun, Variable, VariableValue,
    Wire,
};

/// One attempt of one step.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempt {
    /// The step's [`id`](super::definition::StepDefinition::id).
    pub step: String,
    /// Which item, where the step is done for many.
    pub index: Option<u32>,
    /// From 1.
    pub number: u32,
}

/// Everything that matters for one run.
#[derive(Clone, Debug)]
pub struct View<'a> {
    /// The run as it is stored.
    pub run: &'a WorkflowRun,
    /// Its definition: the pinned revision's, or the workflow's present one while none is pinned.
    pub definition: DefinitionView,
    /// Its pods by name; only those that it owns.
    pub pods: BTreeMap<String, PodView>,
    /// Names of those pods that are being deleted.
    pub stopping: BTreeSet<String>,
    /// Names of its pods, Jobs and child runs that are known to have been there and have gone.
    pub lost: BTreeSet<String>,
    /// Names of those that this leader has tried to make without an answer: they may have been there.
    pub doubtful: BTreeSet<String>,
    /// Its Jobs by name; only those that it owns.
    pub jobs: BTreeMap<String, JobView>,
    /// Those of its pods and Jobs that were handed over to Kueue, by name.
    pub handed_over: BTreeMap<String, HandedOver>,
    /// The services that its steps call, by name.
    pub services: BTreeMap<String, ServiceView>,
    /// The answers of the queries that its steps call, by the query's name. One that has not been answered yet is not among them.
    pub answers: BTreeMap<String, Vec<ServiceShare>>,
    /// Results of calls that are not in the status yet.
    pub outcomes: BTreeMap<Attempt, CallOutcome>,
    /// Calls under way in this process.
    pub in_flight: Vec<Attempt>,
    /// Its child runs by name.
    pub children: BTreeMap<String, ChildView>,
    /// How many runs it is nested in.
    pub depth: usize,
    /// It is a child run, and its parent does not want it any more.
    pub unwanted: bool,
    /// Other runs of the same workflow that have not ended.
    pub rivals: Vec<Rival>,
    /// The run that `spec.retryFrom` names, as far as it is needed: before the run has started.
    pub origin: Option<OriginView>,
    /// What its workflow has learned from earlier runs; `None` without a deadline, or while that is too little.
    pub model: Option<Arc<Model>>,
    /// The forecast that the last decision was made with.
    pub outlook: Option<Outlook>,
    /// Lease transitions of this leader.
    pub epoch: i64,
    /// This process is about to hand over: what is at work is brought to its end, nothing new begins.
    pub draining: bool,
    /// Who may use which capacity, and what is granted.
    pub scheduling: SchedulingView,
    /// What the call queues have to say to its steps, by the step's id and the queue.
    pub turns: BTreeMap<(String, LaneKey), Turn>,
    /// What the API server refused to write for it the last time.
    pub refused: Option<&'a Refusal>,
}

impl View<'_> {
    /// Whether this pod, Job or child run was there and has gone.
    #[must_use]
    pub fn has_lost(&self, name: Option<&String>) -> bool {
        name.is_some_and(|name| self.lost.contains(name))
    }
}

/// Where a run's definition is.
#[derive(Clone, Debug)]
pub enum DefinitionView {
    /// The workflow does not exist.
    NotFound,
    /// The workflow has no stored revision yet, or its newest generation has not been looked at.
    NotStored,
    /// The workflow's present spec is not valid.
    Invalid(String),
    /// The pinned revision was removed.
    Lost,
    /// Here it is.
    Found {
        /// Name of the `ControllerRevision`.
        revision: String,
        /// What it holds.
        definition: Arc<Definition>,
    },
}

/// What a pod says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PodView {
    /// Not started; `problem` when the kubelet says that it cannot be, or the scheduler that it has no place for it.
    Pending {
        /// The kubelet's CamelCase reason.
        problem: Option<String>,
    },
    /// At work.
    Running {
        /// Since when.
        since: Timestamp,
    },
    /// Ended with exit code 0.
    Succeeded {
        /// The container's termination message.
        message: String,
        /// When.
        at: Timestamp,
    },
    /// Ended otherwise.
    Failed {
        /// The container's exit code; `None` when the pod was taken away first.
        exit_code: Option<i32>,
        /// The pod's or container's CamelCase reason.
        reason: Option<String>,
        /// When.
        at: Option<Timestamp>,
    },
}

impl PodView {
    /// Whether its container has ended.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        matches!(self, Self::Succeeded { .. } | Self::Failed { .. })
    }
}

/// What a Job says that runs the items of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobView {
    /// Since when it has pods that are under way.
    pub since: Option<Timestamp>,
    /// How many pods are under way.
    pub active: u32,
    /// The indexes that have succeeded, as ranges.
    pub succeeded: String,
    /// Those that have failed for good.
    pub failed: String,
    /// How it ended; its pods have ended too.
    pub end: Option<JobEnd>,
    /// It is being deleted.
    pub stopping: bool,
}

impl JobView {
    /// Whether it may have pods under way, and nobody has told it to stop.
    #[must_use]
    pub const fn is_at_work(&self) -> bool {
        self.end.is_none() && !self.stopping
    }
}

/// What is known of a pod or Job that was handed over to Kueue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandedOver {
    /// The queue that it waits in, or waited.
    pub queue: String,
    /// Since when a pod has its node.
    pub placed: Option<Timestamp>,
}

/// How a Job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobEnd {
    /// All indexes have succeeded.
    Complete,
    /// Not all have; the CamelCase reason of its condition.
    Failed(String),
}

/// What a child run says.
#[derive(Clone, Debug, PartialEq)]
pub struct ChildView {
    /// When it was made.
    pub created_at: Timestamp,
    /// Where it is.
    pub phase: RunPhase,
    /// Reason of its condition `Succeeded`.
    pub reason: String,
    /// Since when it runs.
    pub since: Option<Timestamp>,
    /// Its outputs.
    pub outputs: BTreeMap<String, Value>,
}

/// Another run of the same workflow that has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rival {
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// The urgency that it asks for; that of the workflow when `None`.
    pub urgency: Option<Urgency>,
    /// Its evaluated `concurrency.key`, once it has been looked at.
    pub key: Option<String>,
    /// It is under way, or is about to be.
    pub started: bool,
}

/// The run that another one takes up.
#[derive(Clone, Debug)]
pub enum OriginView {
    /// There is none of that name.
    NotFound,
    /// Here it is, as stored.
    Found(Box<WorkflowRun>),
}

/// What is known of a service that a step calls.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceView {
    /// Its name in cluster DNS: the request's Host.
    pub dns_name: String,
    /// Its interfaces that steps can call, in the spec's order.
    pub interfaces: Vec<InterfaceView>,
}

/// One interface of a service.
#[derive(Clone, Debug, PartialEq)]
pub struct InterfaceView {
    /// Its name.
    pub name: String,
    /// Port of the Service: part of the request's Host.
    pub port: u16,
    /// What it speaks.
    pub protocol: Protocol,
    /// Put before every path; empty when there is none.
    pub base_path: String,
    /// DICOM's settings.
    pub dicom: Option<DicomInterface>,
    /// TLS's settings.
    pub tls: Option<TlsView>,
    /// Endpoints that are ready and may be reached, in order.
    pub endpoints: Vec<SocketAddr>,
    /// What holds for calls to it.
    pub limits: Limits,
    /// What is known of how its endpoints do.
    pub loads: BTreeMap<SocketAddr, Load>,
    /// Why an endpoint that is ready may not be reached; the first of these.
    pub refused: Option<String>,
}

/// TLS of an interface, as callers see it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TlsView {
    /// Certificates in PEM, of which one must have issued the server's.
    pub ca_bundle: Pem,
    /// What is shown to endpoints, if that is wanted.
    pub client: Option<ClientName>,
    /// Name that the certificate of an endpoint must have.
    pub name: String,
    /// The same for endpoints at these addresses.
    pub names: BTreeMap<IpAddr, String>,
}

impl TlsView {
    /// Whom TLS must be spoken with at an address.
    #[must_use]
    pub fn target(&self, address: IpAddr) -> TlsTarget {
        let name = self.names.get(&address).unwrap_or(&self.name).clone();
        TlsTarget { name, ca_bundle: self.ca_bundle.clone(), client: self.client.clone() }
    }
}

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// The next status, when it differs. It is written before anything else happens.
    pub status: Option<WorkflowRunStatus>,
    /// The claim that must exist before any of the pods is made.
    pub claim: Option<StartClaim>,
    /// The claim that must go before the status is written.
    pub drop_claim: Option<String>,
    /// The pods of the run that have ended go with its claim, which Kubernetes keeps while there is a pod that names it.
    pub drop_pods: bool,
    /// Pods that must exist.
    pub start_pods: Vec<StartPod>,
    /// Jobs that must exist.
    pub start_jobs: Vec<StartJob>,
    /// Jobs that must not go on.
    pub stop_jobs: Vec<String>,
    /// Steps that wait for capacity: what they ask for.
    pub demands: Vec<Demand>,
    /// Steps that wait for their turn to call.
    pub asks: Vec<CallAsk>,
    /// Child runs that must exist.
    pub start_runs: Vec<StartRun>,
    /// Pods that must not go on.
    pub stop_pods: Vec<String>,
    /// Calls to start.
    pub start_calls: Vec<StartCall>,
    /// Outcomes that are not in the status yet on purpose: they are taken with those that follow soon.
    pub held: BTreeSet<Attempt>,
    /// Calls to drop: their result does not matter any more.
    pub stop_calls: Vec<Attempt>,
    /// When to look again without an event.
    pub wake_at: Option<Timestamp>,
    /// The forecast that this decision was made with: the next one needs no other while nothing has happened.
    pub outlook: Option<Outlook>,
    /// What people should know.
    pub notes: Vec<Note>,
}

impl Decision {
    /// Whether objects are made on the word of a status that was written before: an earlier attempt to make them has failed, or its
    /// outcome is not known.
    #[must_use]
    pub fn makes_again(&self) -> bool {
        let makes = !(self.start_pods.is_empty() && self.start_jobs.is_empty() && self.start_runs.is_empty());
        self.status.is_none() && makes
    }

    /// Nothing begins, and nothing is asked for.
    pub(super) fn start_nothing(&mut self) {
        self.claim = None;
        self.start_pods.clear();
        self.start_jobs.clear();
        self.start_runs.clear();
        self.start_calls.clear();
        self.demands.clear();
        self.asks.clear();
    }
}
