//! A workflow's definition, read once: names resolved to places, expressions compiled, defaults filled in.

mod fan_out;
mod reader;
mod scope;

use std::time::Duration;

pub use fan_out::{INDEX_VARIABLE, ITEMS_VARIABLE};

use crate::{
    api::{
        Span, WorkflowRunStatus,
        medical_service::{ImagePullPolicy, Resources},
        vocabulary::{Safety, Urgency},
        workflow::{AccessMode, ConcurrencyPolicy, Parameter, ValueType, WorkflowSpec},
        workflow_run::StepStatus,
    },
    core::{
        coordination::{request::RequestDefinition, retry::RetryPolicy},
        expression::{Expression, Template},
        scheduling::Quantities,
    },
};

/// Ends the id of what undoes a step. No step's name holds a dot.
pub const COMPENSATE: &str = ".compensate";

/// The status of each step and of what undoes it, with its [`id`](StepDefinition::id).
pub fn with_ids(status: &WorkflowRunStatus) -> impl Iterator<Item = (String, &StepStatus)> {
    let steps = status.steps.iter().map(|(name, s)| (name.clone(), s));
    steps.chain(status.compensations.iter().map(|(name, s)| (format!("{name}{COMPENSATE}"), s)))
}

/// One thing that is wrong with a definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Path of the field, such as `spec.steps[2].when`.
    pub field: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// A valid definition.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    /// Urgency of runs that name none.
    pub urgency: Urgency,
    /// How soon after its creation a run that names no deadline must have ended.
    pub deadline: Option<Span>,
    /// What a run may or must give.
    pub parameters: Vec<Parameter>,
    /// The steps; each comes after all that it waits for.
    pub steps: Vec<StepDefinition>,
    /// What is done when the steps are over; `after` holds places in this list.
    pub finally: Vec<StepDefinition>,
    /// The volume that the pods of a run share.
    pub workspace: Option<WorkspaceDefinition>,
    /// How many runs may be under way together.
    pub concurrency: Option<ConcurrencyDefinition>,
    /// The run's outputs.
    pub outputs: Vec<(String, Expression)>,
}

/// The volume that the pods of a run share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkspaceDefinition {
    /// A Kubernetes quantity of bytes.
    pub size: String,
    /// The `StorageClass`; the cluster's default when `None`.
    pub storage_class: Option<String>,
    /// From how many nodes it can be used.
    pub access_mode: AccessMode,
    /// Where containers find it.
    pub mount_path: String,
}

/// Bounds the runs that are under way together.
#[derive(Clone, Debug, PartialEq)]
pub struct ConcurrencyDefinition {
    /// Runs for which it gives the same text count together; all of the workflow when `None`.
    pub key: Option<Expression>,
    /// How many may be under way.
    pub limit: usize,
    /// What becomes of one too many.
    pub policy: ConcurrencyPolicy,
}

/// When a step has its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// One of `steps`.
    Main,
    /// Undoes one of `steps`, and bears its name.
    Compensation,
    /// One of `finally`.
    Finally,
}

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub struct StepDefinition {
    /// Its name.
    pub name: String,
    /// When it has its turn.
    pub role: Role,
    /// Places of the steps that must be done first.
    pub after: Vec<usize>,
    /// False skips the step.
    pub when: Option<Expression>,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// That time as percent of the run's deadline, where it has one.
    pub deadline_share: Option<u8>,
    /// Further attempts.
    pub retry: RetryPolicy,
    /// May it be repeated when nobody knows whether it took effect?
    pub safety: Safety,
    /// Its outputs.
    pub outputs: Vec<OutputDefinition>,
    /// A pod that is taken away is followed by another attempt that costs no retry.
    pub interruptible: bool,
    /// Capacity that it takes while it is at work, each item of one that is done for many.
    pub holds: Quantities,
    /// Done for many items.
    pub fan_out: Option<FanOut>,
    /// What it does.
    pub action: Action,
    /// What undoes it.
    pub compensate: Option<Box<StepDefinition>>,
}

impl StepDefinition {
    /// What tells this step's attempts from those of all others of the run: its name, or `<name>.compensate`, which no name
    /// can be.
    #[must_use]
    pub fn id(&self) -> String {
        match self.role {
            Role::Main | Role::Finally => self.name.clone(),
            Role::Compensation => format!("{}{COMPENSATE}", self.name),
        }
    }
}

/// One output of a step.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputDefinition {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: ValueType,
    /// Expression over `result`.
    pub value: Expression,
}

/// How a step is done for many items.
#[derive(Clone, Debug, PartialEq)]
pub struct FanOut {
    /// Its items.
    pub items: Items,
    /// How many may be under way together.
    pub parallel: u32,
    /// How many may fail.
    pub tolerate: Tolerance,
}

/// What the items of a step are.
#[derive(Clone, Debug, PartialEq)]
pub enum Items {
    /// A list, or a number n for the items 0 to n-1.
    Of(Expression),
    /// So many, each its own index.
    Count(u32),
}

/// How many items of a step may fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tolerance {
    /// So many.
    Count(u32),
    /// So many of a hundred, rounded down.
    Percent(u32),
}

impl Tolerance {
    /// Reads `3` or `5%`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.strip_suffix('%') {
            Some(percent) => percent.parse().ok().filter(|&p| p <= 100).map(Self::Percent),
            None => text.parse().ok().map(Self::Count),
        }
    }

    /// How many of `total` items.
    #[must_use]
    pub const fn of(self, total: u32) -> u32 {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => total.saturating_mul(percent) / 100,
        }
    }
}

/// What a step does.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Talks to a service.
    Call(Box<CallDefinition>),
    /// Runs a pod.
    Container(Box<ContainerDefinition>),
    /// Computes a value.
    Transform(Expression),
    /// Lets time pass.
    Wait(Duration),
    /// Runs another workflow.
    Child(Box<ChildDefinition>),
}

impl Action {
    /// Whether something is at work elsewhere and has to come to its own end.
    #[must_use]
    pub const fn works(&self) -> bool {
        matches!(self, Self::Call(_) | Self::Container(_) | Self::Child(_))
    }
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source<T> {
    /// It is computed from what the run knows.
    Computed(T),
    /// It is that of the sensitive parameter of this name: only the reference is known.
    Sensitive(String),
}

/// Another workflow that is run as a step.
#[derive(Clone, Debug, PartialEq)]
pub struct ChildDefinition {
    /// Name of the `Workflow`.
    pub workflow: String,
    /// Its parameters.
    pub parameters: Vec<(String, Source<Expression>)>,
}

/// Who is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Callee {
    /// A `MedicalService`.
    Service {
        /// Its name.
        name: String,
        /// Name of its interface; the first that fits the request when `None`.
        interface: Option<String>,
    },
    /// One of the services in the answer of the `ServiceQuery` of this name.
    Query(String),
}

/// A request to a service.
#[derive(Clone, Debug, PartialEq)]
pub struct CallDefinition {
    /// Who is called.
    pub callee: Callee,
    /// What is sent.
    pub request: RequestDefinition,
}

/// A container run to its end.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerDefinition {
    /// Image.
    pub image: String,
    /// When it is pulled.
    pub image_pull_policy: ImagePullPolicy,
    /// Entry point.
    pub command: Vec<Template>,
    /// Arguments.
    pub args: Vec<Template>,
    /// Environment.
    pub env: Vec<(String, Source<Template>)>,
    /// Requests and limits.
    pub resources: Option<Resources>,
}

impl Definition {
    /// Reads a spec.
    ///
    /// # Errors
    /// All that is wrong, each with its field: the API server's schema has let it through, but an expression does not
    /// compile, or refers to what is not there.
    pub fn parse(spec: &WorkflowSpec) -> Result<Self, Vec<Fault>> {
        reader::read(spec)
    }

    /// All steps that may call, run pods or child runs: those of `steps` and `finally`, and what undoes them.
    pub fn every_step(&self) -> impl Iterator<Item = &StepDefinition> {
        let compensations = self.steps.iter().filter_map(|s| s.compensate.as_deref());
        self.steps.iter().chain(compensations).chain(&self.finally)
    }
}
