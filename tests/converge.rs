//! Does the operator bring every object to its end, whatever happens on the way? The shipped operator runs unchanged on the
//! simulated API server, under virtual time.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

#[path = "converge/anomalies.rs"]
mod anomalies;
#[path = "converge/answers.rs"]
mod answers;
#[path = "converge/capacity.rs"]
mod capacity;
#[path = "converge/crashes.rs"]
mod crashes;
#[path = "converge/deadlines.rs"]
mod deadlines;
#[path = "converge/decisions.rs"]
mod decisions;
#[path = "converge/dicom.rs"]
mod dicom;
#[path = "converge/families.rs"]
mod families;
#[path = "converge/fan_out.rs"]
mod fan_out;
#[path = "converge/fan_out_children.rs"]
mod fan_out_children;
#[path = "converge/fan_out_pods.rs"]
mod fan_out_pods;
#[path = "converge/fan_out_taken_up.rs"]
mod fan_out_taken_up;
#[path = "converge/fate.rs"]
mod fate;
#[path = "converge/faults.rs"]
mod faults;
#[path = "converge/fhir.rs"]
mod fhir;
#[path = "converge/follows.rs"]
mod follows;
#[path = "converge/foreseen.rs"]
mod foreseen;
#[path = "converge/gates.rs"]
mod gates;
#[path = "converge/guard.rs"]
mod guard;
#[path = "converge/hl7v2.rs"]
mod hl7v2;
#[path = "converge/jobs.rs"]
mod jobs;
#[path = "converge/kubelet.rs"]
mod kubelet;
#[path = "converge/kueue.rs"]
mod kueue;
#[path = "converge/large.rs"]
mod large;
#[path = "converge/limits.rs"]
mod limits;
#[path = "converge/plans/mod.rs"]
mod plans;
#[path = "converge/preferences.rs"]
mod preferences;
#[path = "converge/questions.rs"]
mod questions;
#[path = "converge/queues.rs"]
mod queues;
#[path = "converge/refusals.rs"]
mod refusals;
#[path = "converge/retry_after.rs"]
mod retry_after;
#[path = "converge/scaling.rs"]
mod scaling;
#[path = "converge/secrets.rs"]
mod secrets;
#[path = "converge/service_pods.rs"]
mod service_pods;
#[path = "converge/services.rs"]
mod services;
#[path = "converge/stage.rs"]
mod stage;
#[path = "converge/stages.rs"]
mod stages;
#[path = "converge/steering.rs"]
mod steering;
#[path = "converge/steps.rs"]
mod steps;
#[path = "converge/supply.rs"]
mod supply;
#[path = "converge/turns.rs"]
mod turns;
#[path = "converge/undisturbed.rs"]
mod undisturbed;
#[path = "converge/unseen.rs"]
mod unseen;
#[path = "converge/workspaces.rs"]
mod workspaces;
#[path = "converge/world.rs"]
mod world;
