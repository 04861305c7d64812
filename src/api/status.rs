//! Types and reasons of conditions, shared by all kinds.

/// Accepted and done; see each kind for what that means.
pub const READY: &str = "Ready";
/// True while work goes on; absent otherwise (kstatus).
pub const RECONCILING: &str = "Reconciling";
/// True when only a change by the user can help; absent otherwise (kstatus).
pub const STALLED: &str = "Stalled";
/// `MedicalService`: at least one endpoint answers.
pub const REACHABLE: &str = "Reachable";
/// `MedicalService`: its FHIR servers can do what is declared.
pub const CAPABILITY_MATCH: &str = "CapabilityMatch";
/// `MedicalService`: what its FHIR servers can do has changed since this generation was first probed.
pub const CAPABILITY_DRIFT: &str = "CapabilityDrift";
/// `MedicalService`: its measurements are unusual, given those before.
pub const ANOMALOUS: &str = "Anomalous";
/// `WorkflowRun`: how it ended; Unknown while it runs.
pub const SUCCEEDED: &str = "Succeeded";
/// `Workflow`: how its latest run ended.
pub const LAST_RUN: &str = "LastRun";
/// `WorkflowRun`: whether all that had to be undone was.
pub const COMPENSATED: &str = "Compensated";
/// `ServiceQuery`: nothing is in the answer.
pub const EMPTY: &str = "Empty";
/// `ServiceQuery`: none of its endpoints is ready, and the last good answer is kept.
pub const PANIC: &str = "Panic";
/// `ServiceQuery`: all signals that it names are read; absent where it names none.
pub const SIGNALS_READ: &str = "SignalsRead";
