//! A run that takes up another one: which of the other's steps count as done.

use std::collections::BTreeSet;

use crate::{
    api::workflow_run::{RunPhase, StepPhase, StepStatus},
    core::coordination::{
        definition::{Action, Definition},
        run::Flow,
        view::OriginView,
    },
};

/// Takes over what the run named in `spec.retryFrom` has done: its steps that succeeded or were skipped, without the named one,
/// without those that were compensated, and without all that come after any of these.
///
/// # Errors
/// Why it cannot be taken up.
pub(super) fn take_over(flow: &mut Flow<'_>, definition: &Definition) -> Result<(), String> {
    let Some(from) = &flow.view.run.spec.retry_from else { return Ok(()) };
    let name = &from.run;
    let other = match &flow.view.origin {
        Some(OriginView::Found(run)) => run,
        Some(OriginView::NotFound) | None => {
            return Err(format!("spec.retryFrom.run: there is no WorkflowRun `{name}`"));
        }
    };
    if other.spec.workflow != flow.view.run.spec.workflow {
        return Err(format!(
            "spec.retryFrom.run: `{name}` is a run of the Workflow `{}`, not of this one",
            other.spec.workflow
        ));
    }
    let Some(status) = other.status.as_ref().filter(|s| s.phase.is_some_and(RunPhase::is_final)) else {
        return Err(format!("spec.retryFrom.run: `{name}` has not ended; cancel it, or wait for its end"));
    };
    if !definition.steps.iter().any(|s| s.name == from.step) {
        return Err(format!("spec.retryFrom.step: `{}` is not a step of the workflow", from.step));
    }
    let mut anew: BTreeSet<usize> = BTreeSet::new();
    for (place, step) in definition.steps.iter().enumerate() {
        let present = status.steps.get(&step.name);
        let done = present.is_some_and(|s| s.phase.is_done());
        if step.name == from.step
            || !done
            || status.compensations.contains_key(&step.name)
            || step.after.iter().any(|a| anew.contains(a))
        {
            anew.insert(place);
        } else if let Some(present) = present {
            if definition.workspace.is_some()
                && matches!(step.action, Action::Container(_))
                && present.phase == StepPhase::Succeeded
            {
                return Err(format!(
                    "spec.retryFrom: step `{}` is done, and what it left in the workspace went with run `{name}`: take up \
                     this step or one before it, or create a run without retryFrom",
                    step.name
                ));
            }
            let taken = StepStatus {
                pod: None,
                run: None,
                job: None,
                target: None,
                message: Some(format!("taken over from run `{name}`")),
                ..present.clone()
            };
            flow.status.steps.insert(step.name.clone(), taken);
        }
    }
    Ok(())
}
