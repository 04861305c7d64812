//! The volume that the pods of a run share: made before the first of them, removed when nothing of the run needs it.
//!
//! Its claim is not watched. That it is there follows from what is: it is made before the first pod or Job, so a run that
//! has one has its claim; and it is in the status from the write that tells of the first pod to the one that ends the run.

use crate::{
    api::workflow_run::{Ending, RunPhase},
    core::{
        coordination::{
            definition::{Definition, WorkspaceDefinition},
            run::{End, Flow},
            view::{Mount, StartClaim},
        },
        name,
    },
};

/// The volume as a pod sees it.
pub(super) fn mount(flow: &Flow<'_>, volume: &WorkspaceDefinition) -> Mount {
    Mount { claim: name::workspace(flow.name()), path: volume.mount_path.clone() }
}

/// Asks for the claim where pods start, unless it must be there already.
pub(super) fn claim(flow: &mut Flow<'_>, definition: &Definition) {
    let starts = !flow.decision.start_pods.is_empty() || !flow.decision.start_jobs.is_empty();
    let Some(volume) = definition.workspace.as_ref().filter(|_| starts) else { return };
    let name = name::workspace(flow.name());
    flow.status.workspace = Some(name.clone());
    if flow.view.pods.is_empty() && flow.view.jobs.is_empty() {
        let workflow = flow.view.run.spec.workflow.clone();
        flow.decision.claim = Some(StartClaim { name, workflow, volume: volume.clone() });
    }
}

/// A run that is over gives its claim back before it ends: a finished run is not looked at again. First the status tells how it
/// will end and what every pod came to, since the pods may go with the claim: so what is done with an empty hand after a crash
/// is the same; then the claim goes; then the run ends.
pub(super) fn release(flow: &mut Flow<'_>, end: End) -> End {
    let End::Over(phase, reason, message) = end else { return end };
    let Some(name) = flow.status.workspace.clone() else { return End::Over(phase, reason, message) };
    let told = flow.present.ending.is_some()
        && flow.present.steps == flow.status.steps
        && flow.present.compensations == flow.status.compensations;
    if !told {
        let open = flow.present.phase.filter(|p| *p != RunPhase::Pending).unwrap_or(RunPhase::Running);
        let told = format!("{message}; its workspace is being removed");
        flow.status.ending.get_or_insert(Ending { phase, reason, message });
        flow.wake(flow.now);
        return End::Open(open, "RemovingWorkspace", told, false);
    }
    flow.decision.drop_claim = Some(name);
    // of a run that did not succeed, the pods' logs are worth more than the volume
    flow.decision.drop_pods = phase == RunPhase::Succeeded;
    flow.status.workspace = None;
    End::Over(phase, reason, message)
}
