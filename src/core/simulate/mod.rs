//! A workflow in a world without a cluster: the decisions are the operator's own, time is counted and not waited for, and
//! what pods, services and child runs do follows from a plan.

mod job;
mod plan;
mod show;
mod timeline;
mod world;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

pub use plan::{Failing, Plan, Span};
pub use timeline::{ItemsRow, Row, Timeline};
use world::World;

use crate::{
    api::{
        self, WorkflowRun, WorkflowRunSpec,
        workflow_run::{RunPhase, StepPhase},
    },
    core::coordination::{Definition, decide, ended, fan_out::indexes::MAX_ITEMS, view::DefinitionView},
};

/// When every simulated run begins: a moment like any other.
const START: Timestamp = Timestamp::constant(946_684_800, 0);
/// Looks at one run: 500 steps of 101 attempts need some four each.
const MAX_LOOKS: usize = 300_000;
/// Looks for the sake of one attempt of one item.
const LOOKS_OF_ITEM: usize = 4;

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
    let looks = looks(&definition);
    for _ in 0..looks {
        world.advance(now);
        let decision = decide(&world.view(&run, found.clone(), now), now);
        let changed = decision.status.is_some();
        if let Some(mut status) = decision.status.clone() {
            ended::unfold(&mut status)
                .map_err(|e| format!("a defect of medley: its own status cannot be read: {e}"))?;
            timeline.tell(&definition, &status, now);
            run.status = Some(status);
        }
        let phase = run.status.as_ref().and_then(|s| s.phase);
        if phase.is_some_and(RunPhase::is_final) {
            return Ok(timeline.end(&run, &world.repeated(), now));
        }
        let started = world.perform(&decision, run.status.as_ref(), now);
        if changed || started {
            continue;
        }
        match [decision.wake_at, world.next(now)].into_iter().flatten().filter(|at| *at > now).min() {
            Some(at) => now = at,
            None => return Ok(timeline.end(&run, &world.repeated(), now)),
        }
    }
    Err(format!("the run did not come to an end within {looks} looks at it: does it wait for itself?"))
}

/// How often a run is looked at, at most.
fn looks(definition: &Definition) -> usize {
    let of_items = definition.every_step().filter(|s| s.fan_out.is_some()).map(|step| {
        let attempts = usize::try_from(step.retry.limit).unwrap_or(usize::MAX).saturating_add(1);
        (MAX_ITEMS as usize * LOOKS_OF_ITEM).saturating_mul(attempts)
    });
    of_items.fold(MAX_LOOKS, usize::saturating_add)
}

/// A moment so much later; none where that is beyond all time.
fn later(at: Timestamp, by: Duration) -> Option<Timestamp> {
    at.saturating_add(SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX)).ok().filter(|t| *t < Timestamp::MAX)
}

/// Whether a step has ended, or waits for a person.
const fn is_settled(phase: StepPhase) -> bool {
    phase.is_final() || matches!(phase, StepPhase::Unknown)
}

#[cfg(test)]
mod tests;
