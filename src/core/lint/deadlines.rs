//! Can the deadline be met, and does each time fit into it?

use std::{collections::BTreeMap, time::Duration};

use super::{
    finding::{Findings, Severity},
    object::Object,
};
use crate::api::{Span, step::Step, workflow::WorkflowSpec};

/// The longest sum of something over the steps that come one after the other.
fn longest<N: Copy + Default + Ord + std::ops::Add<Output = N>>(steps: &[Step], of: impl Fn(&Step) -> N) -> Vec<N> {
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    let mut sums: Vec<N> = Vec::with_capacity(steps.len());
    for (place, step) in steps.iter().enumerate() {
        let before = step.after.iter().filter_map(|name| sums.get(*places.get(name.as_str())?)).max().copied();
        sums.push(before.unwrap_or_default() + of(step));
        places.entry(&step.name).or_insert(place);
    }
    sums
}

/// How long a run takes at least, whatever else takes no time: its waits. `sure` leaves out those that may be skipped.
pub(super) fn at_least(spec: &WorkflowSpec, sure: bool) -> Duration {
    let wait = |step: &Step| match &step.wait {
        Some(wait) if !sure || step.when.is_none() => wait.for_.duration(),
        _ => Duration::ZERO,
    };
    longest(&spec.steps, wait).into_iter().max().unwrap_or_default()
}

/// What is wrong with a deadline for runs of a workflow.
pub(super) fn missed(spec: &WorkflowSpec, deadline: Span) -> Option<(Severity, String)> {
    let shown = |time: Duration| Span::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    let (sure, all) = (at_least(spec, true), at_least(spec, false));
    if sure >= deadline.duration() {
        let message =
            format!("cannot be met: the waits that come one after the other take {} by themselves", shown(sure));
        Some((Severity::Error, message))
    } else if all >= deadline.duration() {
        let message = format!(
            "is missed where no wait is skipped: those that come one after the other take {} by themselves",
            shown(all)
        );
        Some((Severity::Warning, message))
    } else {
        None
    }
}

pub(super) fn check(object: &Object, spec: &WorkflowSpec, findings: &mut Findings) {
    let Some(deadline) = spec.deadline else { return };
    if let Some((severity, message)) = missed(spec, deadline) {
        findings.at(object, severity, "deadline", "spec.deadline", message);
    }
    for (i, step) in spec.steps.iter().enumerate() {
        if step.timeout.is_some_and(|t| t > deadline) {
            let message = format!("never passes: the run's deadline of {deadline} does before");
            findings.at(object, Severity::Warning, "deadline", &format!("spec.steps[{i}].timeout"), message);
        }
    }
    let shares = longest(&spec.steps, |step| u32::from(step.deadline_share.unwrap_or(0)));
    for (i, (step, sum)) in spec.steps.iter().zip(shares).enumerate() {
        let own = u32::from(step.deadline_share.unwrap_or(0));
        // the first step that goes beyond is told, not all after it
        if own > 0 && sum > 100 && sum - own <= 100 {
            let message =
                format!("with those before it the shares are {sum} % of the deadline: all together have 100 %");
            findings.at(object, Severity::Warning, "deadline", &format!("spec.steps[{i}].deadlineShare"), message);
        }
    }
}
