//! The child run of one attempt of a step.

use super::{Owner, RUN_LABEL, STEP_LABEL, WORKFLOW_LABEL};
use crate::{
    api::{WorkflowRun, WorkflowRunSpec},
    core::coordination::view::StartRun,
};

/// The run that fulfils a wish. It goes with its parent.
#[must_use]
pub fn child_run(owner: &Owner, wish: &StartRun) -> WorkflowRun {
    let labels =
        [(RUN_LABEL, owner.name.as_str()), (STEP_LABEL, wish.step.as_str()), (WORKFLOW_LABEL, wish.workflow.as_str())];
    let spec = WorkflowRunSpec {
        workflow: wish.workflow.clone(),
        parameters: wish.parameters.clone(),
        urgency: Some(wish.urgency),
        ..WorkflowRunSpec::default()
    };
    WorkflowRun { metadata: owner.metadata(&wish.name, &labels), spec, status: None }
}
