//! A workflow in a world without a cluster: the decisions are the operator's own, time is counted and not waited for, and
//! what pods, services and child runs do follows from a plan.

mod plan;
mod show;
mod timeline;
mod world;

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use serde_json::Value;

pub use plan::{Failing, Plan, Span};
pub use timeline::{Row, Timeline};
use world::World;

use crate::{
    api::{
        self, WorkflowRun, WorkflowRunSpec,
        workflow_run::{RunPhase, StepPhase},
    },
    core::coordination::{Definition, decide, view::DefinitionView},
};

/// When every simulated run begins: a moment like any other.
const START: Timestamp = Timestamp::constant(946_684_800, 0);
/// Looks at one run: 500 steps of 101 attempts need some four each.
const MAX_LOOKS: usize = 300_000;

/// What is simulated.
#[derive(Clone, Debug)]
pub struct Input {
    /// Name of the workflow.
    pub workflow: String,
    /// It.
    pub definition: Definition,
    /// Values of its parameters.
    pub parameters: BTreeMap<String, Value>,
    /// How soon it must have ended; the workflow's own deadline when `None`.
    pub deadline: Option<api::Span>,
    /// What the world does.
    pub plan: Plan,
}

/// Runs the workflow to its end, or to where only a person can help.
///
/// # Errors
/// When the plan names what the workflow does not have, or the run does not come to an end.
pub fn simulate(input: Input) -> Result<Timeline, String> {
    if let Some(step) = input.definition.every_step().find(|s| s.fan_out.is_some()) {
        return Err(format!(
            "step `{}` has forEach, and the simulated world has one attempt a step only: simulate the step without it",
            step.name
        ));
    }
    input.plan.check(&input.definition)?;
    let mut run = WorkflowRun::new(
        &format!("{}-simulated", input.workflow),
        WorkflowRunSpec {
            workflow: input.workflow.clone(),
            parameters: input.parameters.clone(),
            deadline: input.deadline,
            ..WorkflowRunSpec::default()
        },
    );
    run.metadata.namespace = Some("simulated".to_owned());
    // what is left to chance in the operator follows from the run's UID
    run.metadata.uid = Some(format!("simulated-{}", input.plan.seed));
    run.metadata.generation = Some(1);
    run.metadata.creation_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(START));
    let definition = Arc::new(input.plan.prepared(input.definition.clone()));
    let found = DefinitionView::Found { revision: "simulated".to_owned(), definition: Arc::clone(&definition) };
    let mut world = World::new(&input.plan, &definition);
    let mut timeline = Timeline::new(&input.workflow, START);
    let mut now = START;
    for _ in 0..MAX_LOOKS {
        let decision = decide(&world.view(&run, found.clone(), now), now);
        let changed = decision.status.is_some();
        if let Some(status) = decision.status.clone() {
            timeline.tell(&definition, &status, now);
            run.status = Some(status);
        }
        let phase = run.status.as_ref().and_then(|s| s.phase);
        if phase.is_some_and(RunPhase::is_final) {
            return Ok(timeline.end(&run, now));
        }
        let started = world.perform(&decision, run.status.as_ref(), now);
        if changed || started {
            continue;
        }
        match [decision.wake_at, world.next(now)].into_iter().flatten().filter(|at| *at > now).min() {
            Some(at) => now = at,
            None => return Ok(timeline.end(&run, now)),
        }
    }
    Err(format!("the run did not come to an end within {MAX_LOOKS} looks at it: does it wait for itself?"))
}

/// Whether a step has ended, or waits for a person.
const fn is_settled(phase: StepPhase) -> bool {
    phase.is_final() || matches!(phase, StepPhase::Unknown)
}

#[cfg(test)]
mod tests;
