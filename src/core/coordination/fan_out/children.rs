//! Items that are child runs: what became of those under way, and those that start.

use super::Fan;
use crate::{
    api::{vocabulary::ErrorClass, workflow_run::RunPhase},
    core::{
        coordination::{
            child::{self, MAX_DEPTH},
            definition::ChildDefinition,
            step::later,
        },
        name,
    },
};

/// Takes what has become of the child runs under way.
pub(super) fn collect(fan: &mut Fan<'_, '_>, child: &ChildDefinition) {
    let base = fan.status.run.clone().unwrap_or_default();
    let overdue = format!("the child run did not end within {:?}", fan.flow.timeout(fan.step));
    let stopping: Vec<u32> = fan.work.stopping.iter().collect();
    for index in stopping {
        let name = name::item(&base, index, fan.work.attempt(index).attempt);
        match fan.flow.view.children.get(&name).map(|c| c.phase) {
            Some(RunPhase::Succeeded) => fan.work.succeed(index),
            Some(phase) if !phase.is_final() => {} // its end will be told
            _ if fan.flow.is_stopping() => fan.work.cancel(index),
            _ => fan.failed(index, ErrorClass::Timeout, true, &overdue),
        }
    }
    let running: Vec<u32> = fan.work.running.iter().collect();
    for index in running {
        let name = name::item(&base, index, fan.work.attempt(index).attempt);
        match fan.flow.view.children.get(&name) {
            Some(child) if child.phase == RunPhase::Succeeded => fan.work.succeed(index),
            Some(child) if child.phase.is_final() => {
                let message = format!("child run `{name}` ended {:?}: {}", child.phase, child.reason);
                fan.failed(index, ErrorClass::ChildFailed, true, &message);
            }
            Some(child) => {
                let until = later(child.created_at, fan.flow.timeout(fan.step));
                if until <= fan.flow.now {
                    fan.work.stop(index);
                } else {
                    fan.wake = Some(fan.wake.map_or(until, |w| w.min(until)));
                }
            }
            None if fan.flow.view.draining => {} // the next leader sees to it
            // it was not made, or was deleted: its name says which attempt it is
            None => {
                fan.flow.fence_off();
                let shown = fan.show(index);
                make(fan, child, index, shown);
                fan.flow.item = None;
            }
        }
    }
}

/// Starts one item.
pub(super) fn start(fan: &mut Fan<'_, '_>, child: &ChildDefinition, index: u32) -> Option<String> {
    fan.work.start(index);
    make(fan, child, index, Ok(()));
    None
}

fn make(fan: &mut Fan<'_, '_>, child: &ChildDefinition, index: u32, shown: Result<(), String>) {
    if let Err(problem) = shown {
        return fan.failed(index, ErrorClass::Configuration, true, &problem);
    }
    if fan.flow.view.depth >= MAX_DEPTH {
        let message = format!("child runs may be nested {MAX_DEPTH} deep: does a workflow run itself?");
        return fan.failed(index, ErrorClass::Configuration, true, &message);
    }
    let base = name::items(fan.flow.name(), &fan.step.id());
    let name = name::item(&base, index, fan.work.attempt(index).attempt);
    fan.status.run = Some(base);
    match child::wish(fan.flow, fan.step, child, name) {
        Ok(run) => fan.flow.decision.start_runs.push(run),
        Err(e) => fan.failed(index, ErrorClass::Configuration, true, &e.to_string()),
    }
}
