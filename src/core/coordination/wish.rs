//! What a decision about a run asks for, in the words of the domain.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use serde_json::Value;

use crate::{
    api::{
        medical_service::{ImagePullPolicy, Resources},
        vocabulary::Urgency,
    },
    core::{
        coordination::{
            definition::WorkspaceDefinition,
            parameters::SecretKey,
            view::{Attempt, TlsView},
        },
        dicom::{Titles, find::Query},
        dispatch::Ask,
    },
};

/// A pod for one attempt of a container step.
#[derive(Clone, Debug, PartialEq)]
pub struct StartPod {
    /// Name of the pod; follows from run, step and attempt.
    pub name: String,
    /// Which attempt.
    pub attempt: Attempt,
    /// Name of the step: its label.
    pub step: String,
    /// The run's workflow.
    pub workflow: String,
    /// Decides its `PriorityClass`.
    pub urgency: Urgency,
    /// Image.
    pub image: String,
    /// When it is pulled.
    pub image_pull_policy: ImagePullPolicy,
    /// Entry point.
    pub command: Vec<String>,
    /// Arguments.
    pub args: Vec<String>,
    /// Environment.
    pub env: Vec<Variable>,
    /// Requests and limits.
    pub resources: Option<Resources>,
    /// The volume that it shares with the run's other pods.
    pub workspace: Option<Mount>,
    /// The kubelet ends it after this long, should medley be away.
    pub deadline: Duration,
    /// Kueue's queue that decides when it starts.
    pub kueue_queue: Option<String>,
}

/// The volume that the pods of a run share, as one of them sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Name of the claim.
    pub claim: String,
    /// Where the container finds it.
    pub path: String,
}

/// The claim of a run's workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartClaim {
    /// Its name; follows from the run's.
    pub name: String,
    /// The run's workflow.
    pub workflow: String,
    /// What is asked for.
    pub volume: WorkspaceDefinition,
}

/// A variable of a container's environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: VariableValue,
}

/// The value of a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VariableValue {
    /// As it is.
    Text(String),
    /// What the kubelet finds there.
    Secret(SecretKey),
}

/// A Job for the items of a container step.
#[derive(Clone, Debug, PartialEq)]
pub struct StartJob {
    /// One pod of it. Its name is that of the Job, which follows from run and step.
    pub pod: StartPod,
    /// How many items.
    pub total: u32,
    /// How many pods may run together.
    pub parallel: u32,
    /// Further pods for an item after its first failed.
    pub retries: u32,
    /// How many items may fail.
    pub tolerated: u32,
    /// A pod that is taken away costs no retry.
    pub interruptible: bool,
    /// The items as a JSON list, where they are not just numbers.
    pub items: Option<String>,
    /// After this long it cannot be at work any more, and is ended.
    pub deadline: Duration,
}

/// A child run for one attempt of a step.
#[derive(Clone, Debug, PartialEq)]
pub struct StartRun {
    /// Its name; follows from run, step and attempt.
    pub name: String,
    /// Name of the step: its label.
    pub step: String,
    /// The workflow that it runs.
    pub workflow: String,
    /// Values of that workflow's parameters.
    pub parameters: BTreeMap<String, Value>,
    /// The parent's.
    pub urgency: Urgency,
}

/// One interface of one service of the run's namespace: what calls queue for.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneKey {
    /// The `MedicalService`.
    pub service: String,
    /// Its interface.
    pub interface: String,
}

/// A step that is ready but for its turn to call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallAsk {
    /// What it calls.
    pub lane: LaneKey,
    /// The step's [`id`](super::definition::StepDefinition::id).
    pub step: String,
    /// What it asks for.
    pub ask: Ask,
}

/// One request to a service.
#[derive(Clone, Debug, PartialEq)]
pub struct StartCall {
    /// Which attempt.
    pub attempt: Attempt,
    /// The service and its interface.
    pub lane: LaneKey,
    /// How soon the result is needed.
    pub urgency: Urgency,
    /// The turn that it uses; none where nothing makes calls wait.
    pub turn: Option<u64>,
    /// Where it is sent.
    pub endpoint: SocketAddr,
    /// TLS, by the address that it is sent to; none where it is spoken without.
    pub tls: Option<TlsView>,
    /// What is said, and in which protocol.
    pub wire: Wire,
    /// The same for every attempt of which it is not known that the one before had no effect: where the protocol has a place
    /// for it, the service can tell a repeated request from another one.
    pub idempotency_key: String,
    /// How long it may take.
    pub timeout: Duration,
}

/// What is said, by the protocol that it is said in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wire {
    /// HTTP/1.1. The key is sent as `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header).
    Http(HttpRequest),
    /// A message of HL7 version 2 over MLLP, segment by segment. The key becomes its MSH-10.
    Hl7v2(String),
    /// C-ECHO in an association of its own, between these two.
    Echo(Titles),
    /// C-FIND, likewise.
    Find(Titles, Query),
}

/// One HTTP request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRequest {
    /// The service's DNS name and port.
    pub host: String,
    /// Method.
    pub method: &'static str,
    /// Path and query.
    pub path: String,
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Option<String>,
}
