//! Rules of `WorkflowRun`: what may be asked, and what, once it has happened, stays.

use serde_json::Value;

use super::{EPOCH_STAYS, Rule, extension, rule};

/// Rules that see a whole `WorkflowRun`, old and new.
pub(in crate::api) fn workflow_run() -> Vec<Rule> {
    vec![
        rule(
            "",
            "self.metadata.name.size() <= 63",
            "metadata.name: must have at most 63 characters, since its pods carry it as a label",
        ),
        rule(
            ".spec",
            "!has(oldSelf.status) || !has(oldSelf.status.phase) || !(oldSelf.status.phase in ['Succeeded', 'Failed', 'Canceled']) || self.spec == oldSelf.spec",
            "a finished run cannot be changed: create a new WorkflowRun",
        ),
        rule(".spec.workflow", "self.spec.workflow == oldSelf.spec.workflow", "is immutable: create a new WorkflowRun"),
        rule(
            // Values of parameters are any JSON, so only `dyn` can name the field.
            ".spec.parameters",
            "has(dyn(self.spec).parameters) == has(dyn(oldSelf.spec).parameters) && (!has(dyn(self.spec).parameters) || dyn(self.spec).parameters == dyn(oldSelf.spec).parameters)",
            "is immutable: create a new WorkflowRun",
        ),
        rule(
            ".spec.urgency",
            "has(self.spec.urgency) == has(oldSelf.spec.urgency) && (!has(self.spec.urgency) || self.spec.urgency == oldSelf.spec.urgency)",
            "is immutable: create a new WorkflowRun",
        ),
        rule(
            ".spec.retryFrom",
            "has(self.spec.retryFrom) == has(oldSelf.spec.retryFrom) && (!has(self.spec.retryFrom) || self.spec.retryFrom == oldSelf.spec.retryFrom)",
            "is immutable: create a new WorkflowRun",
        ),
        rule(
            ".spec.deadline",
            "has(self.spec.deadline) == has(oldSelf.spec.deadline) && (!has(self.spec.deadline) || self.spec.deadline == oldSelf.spec.deadline)",
            "is immutable: create a new WorkflowRun",
        ),
        rule(
            ".spec.cancel",
            "!has(oldSelf.spec.cancel) || !oldSelf.spec.cancel || (has(self.spec.cancel) && self.spec.cancel)",
            "a cancelled run stays cancelled: create a new WorkflowRun",
        ),
        rule(
            // The rules below status are not asked when status goes away as a whole.
            ".status",
            "!has(oldSelf.status) || has(self.status)",
            "cannot be removed: it records what the run has done",
        ),
    ]
}

/// Rules of a `WorkflowRun`'s spec.
pub fn workflow_run_spec() -> Value {
    extension(&[rule(
        ".parameters",
        "!has(dyn(self).parameters) || dyn(self).parameters.all(k, k.matches('^[a-z][a-zA-Z0-9]{0,62}$'))",
        "each key must be the name of a parameter of the workflow: letters and digits, at most 63, with a lower-case letter at the start",
    )])
}

/// Rules of a run's status: what has happened stays. One rule speaks for all steps: a rule of each step's own would cost the API
/// server the more the more steps there are.
pub fn workflow_run_status() -> Value {
    extension(&[
        EPOCH_STAYS,
        rule(".phase", "has(self.phase) || !has(oldSelf.phase)", "cannot be removed: it records where the run is"),
        rule(
            ".steps",
            "!has(oldSelf.steps) || (has(self.endedSteps) && (!has(oldSelf.endedSteps) || size(self.endedSteps) > size(oldSelf.endedSteps))) || oldSelf.steps.all(n, !(oldSelf.steps[n].phase in ['Succeeded', 'Skipped', 'Failed', 'Canceled']) || (has(self.steps) && n in self.steps && self.steps[n].phase == oldSelf.steps[n].phase))",
            "a step that has ended stays as it ended: create a new WorkflowRun",
        ),
        rule(
            ".endedSteps",
            "!has(oldSelf.endedSteps) || (has(self.phase) && self.phase in ['Succeeded', 'Failed', 'Canceled']) || (has(self.endedSteps) && size(self.endedSteps) >= size(oldSelf.endedSteps))",
            "never gets shorter while the run is under way: it records what the run has done",
        ),
        rule(
            ".compensations",
            "!has(oldSelf.compensations) || oldSelf.compensations.all(n, !(oldSelf.compensations[n].phase in ['Succeeded', 'Skipped', 'Failed', 'Canceled']) || (has(self.compensations) && n in self.compensations && self.compensations[n].phase == oldSelf.compensations[n].phase))",
            "a compensation that has ended stays as it ended: create a new WorkflowRun",
        ),
        rule(
            ".ending",
            "!has(oldSelf.ending) || (has(self.ending) && self.ending.phase == oldSelf.ending.phase)",
            "cannot be changed or removed: how the run ends is decided",
        ),
    ])
}

/// A run's phase.
pub fn run_phase() -> Value {
    extension(&[rule(
        "",
        "!(oldSelf in ['Succeeded', 'Failed', 'Canceled']) || self == oldSelf",
        "Succeeded, Failed and Canceled are final: create a new WorkflowRun",
    )])
}

/// What a person has found out.
pub fn resolution() -> Value {
    extension(&[rule(
        ".outputs",
        "!has(dyn(self).outputs) || self.outcome == 'Succeeded'",
        "outputs are those of a step that took effect: remove them, or set outcome Succeeded",
    )])
}
