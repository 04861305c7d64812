//! Rules of `CapacityPool` and `ServicePolicy`.

use serde_json::Value;

use super::{Rule, SPAN, extension, rule};

/// Rules that see a whole `CapacityPool`.
pub(in crate::api) fn capacity_pool() -> Vec<Rule> {
    vec![
        rule(
            "",
            "self.metadata.name.size() <= 63",
            "metadata.name: must have at most 63 characters, since other pools and policies name it",
        ),
        rule(
            ".spec.parent",
            "!has(self.spec.parent) || self.spec.parent != self.metadata.name",
            "a pool cannot be its own parent: name another pool, or remove parent",
        ),
    ]
}

/// Rules of a `CapacityPool`'s spec.
pub fn capacity_pool_spec() -> Value {
    extension(&[
        rule(
            "",
            "has(self.parent) || has(self.resources) || has(self.nodes)",
            "a pool has resources, nodes that bring some along, or a parent of which it may borrow: set one of the three",
        ),
        rule(
            ".borrowLimit",
            "!has(self.borrowLimit) || has(self.parent)",
            "there is nobody to borrow from without parent: set it, or remove borrowLimit",
        ),
        rule(
            ".lendLimit",
            "!has(self.lendLimit) || has(self.parent)",
            "there is nobody to lend to without parent: set it, or remove lendLimit",
        ),
    ])
}

/// Hours of the week.
pub fn window() -> Value {
    extension(&[rule(
        "",
        "has(self.resources) || has(self.reserved)",
        "changes nothing: set resources, reserved or both",
    )])
}

/// What each urgency has for itself.
pub fn reserved() -> Value {
    extension(&[rule(
        "",
        "self.all(k, k in ['routine', 'urgent', 'asap', 'stat'])",
        "each key must be an urgency above batch: routine, urgent, asap or stat",
    )])
}

/// One condition of a selector.
pub fn requirement() -> Value {
    extension(&[
        rule(
            ".values",
            "!(self.operator in ['In', 'NotIn']) || (has(self.values) && self.values.size() > 0)",
            "In and NotIn compare with values: list at least one",
        ),
        rule(
            ".values",
            "!(self.operator in ['Exists', 'DoesNotExist']) || !has(self.values)",
            "Exists and DoesNotExist compare with nothing: remove values",
        ),
    ])
}

/// What a policy says.
pub fn service_policy_spec() -> Value {
    extension(&[rule(
        "",
        "has(self.scheduling) || has(self.calls)",
        "says nothing: set scheduling for workflows, calls for services, or both",
    )])
}

/// How the steps of runs get capacity.
pub fn scheduling() -> Value {
    extension(&[
        rule(
            "",
            "has(self.pool) || has(self.kueueQueue) || has(self.maxUrgency) || has(self.aging) || has(self.preemption) || has(self.queueing) || has(self.limits)",
            "says nothing: set at least one of pool, kueueQueue, maxUrgency, aging, preemption, queueing and limits",
        ),
        rule(
            ".kueueQueue",
            "!has(self.kueueQueue) || !has(self.pool)",
            "either Kueue or a pool decides when a container starts: remove kueueQueue or pool",
        ),
        rule(
            ".aboveMaxUrgency",
            "!has(self.aboveMaxUrgency) || has(self.maxUrgency)",
            "is about runs above maxUrgency: set that, or remove aboveMaxUrgency",
        ),
    ])
}

/// How much may be at work.
pub fn work_limits() -> Value {
    extension(&[rule(
        "",
        "has(self.runs) || has(self.pods) || has(self.calls)",
        "says nothing: set at least one of runs, pods and calls",
    )])
}

/// After how long a step rises.
pub fn aging() -> Value {
    extension(&[
        SPAN,
        rule("", "self.matches('[1-9]')", "must be longer than zero, or every step would rise at once: remove aging"),
    ])
}
