//! Rules of `Workflow`.

use serde_json::Value;

use super::{Rule, extension, rule};

/// Rules that see a whole `Workflow`.
pub(in crate::api) fn workflow() -> Vec<Rule> {
    vec![rule(
        "",
        "self.metadata.name.size() <= 63",
        "metadata.name: must have at most 63 characters, since runs carry it as a label",
    )]
}

/// Rules of a `Workflow`'s spec.
pub fn workflow_spec() -> Value {
    extension(&[
        rule(
            // Only what stands above may be named, so a cycle cannot be written.
            ".steps",
            "[self.steps.transformMapEntry(i, s, {s.name: i})].all(at, self.steps.all(i, s, !has(s.after) || s.after.all(d, d in at && at[d] < i)))",
            "after may name only steps that stand above the step in the list: correct the name, or move the step down",
        ),
        rule(
            ".finally",
            "!has(self.finally) || [self.finally.transformMapEntry(i, s, {s.name: i})].all(at, self.finally.all(i, s, !has(s.after) || s.after.all(d, d in at && at[d] < i)))",
            "after of a step in finally may name only steps of finally that stand above it: all others are over by then",
        ),
        rule(
            ".finally",
            "!has(self.finally) || [self.steps.map(s, s.name)].all(names, self.finally.all(f, !(f.name in names)))",
            "a step of finally may not have the name of one of steps: rename it",
        ),
        rule(
            ".finally",
            "!has(self.finally) || !self.finally.exists(f, has(f.compensate))",
            "compensate is for steps: what finally does is not undone, remove it",
        ),
        rule(
            ".steps",
            "has(self.deadline) || !self.steps.exists(s, has(s.deadlineShare))",
            "deadlineShare is a part of spec.deadline: set it, or give the step a timeout instead",
        ),
        rule(
            ".finally",
            "!has(self.finally) || !self.finally.exists(s, has(s.deadlineShare))",
            "what is done at the end has no part in the deadline: give the step a timeout instead",
        ),
        rule(
            ".steps",
            "self.steps.filter(s, has(s.forEach)).size() + (has(self.finally) ? self.finally.filter(s, has(s.forEach)).size() : 0) <= 8",
            "at most 8 steps may have forEach, so that the status of a run stays small: move some into workflows of their own and run these as steps",
        ),
        rule(
            ".parameters",
            "!has(self.start) || !has(self.parameters) || !self.parameters.exists(p, has(p.required) && p.required)",
            "a run made by start OnApply gives no parameters, so none can be required: give each a default, or remove start",
        ),
        rule(
            ".workspace",
            "!has(self.workspace) || self.steps.exists(s, has(s.container) || (has(s.compensate) && has(s.compensate.container))) || (has(self.finally) && self.finally.exists(s, has(s.container)))",
            "workspace is for the pods of steps with container, and there is none: remove it",
        ),
    ])
}

/// One parameter of a workflow.
pub fn parameter() -> Value {
    extension(&[
        rule(
            ".required",
            "!has(self.required) || !self.required || !has(dyn(self).default)",
            "a parameter with a default cannot be required: remove one of the two",
        ),
        rule(
            ".default",
            "!has(dyn(self).default) || !has(dyn(self).enum) || dyn(self).default in dyn(self).enum",
            "default must be one of the values in enum: change it, or add it there",
        ),
        rule(
            ".sensitive",
            "!has(self.sensitive) || !self.sensitive || self.type == 'String'",
            "a sensitive value is text that the kubelet takes from a Secret: set type String, or remove sensitive",
        ),
        rule(
            ".sensitive",
            "!has(self.sensitive) || !self.sensitive || !(has(dyn(self).default) || has(dyn(self).enum))",
            "a sensitive value stands nowhere but in a Secret: remove default and enum, or remove sensitive",
        ),
    ])
}

/// One step of a workflow.
pub fn step() -> Value {
    extension(&[
        rule(
            "",
            "[has(self.call), has(self.container), has(self.transform), has(self.wait), has(self.workflow)].filter(a, a).size() == 1",
            "exactly one of call, container, transform, wait and workflow must be set: it says what the step does",
        ),
        rule(
            ".retry",
            "!has(self.retry) || !(has(self.transform) || has(self.wait))",
            "retry is for call, container and workflow, since transform and wait give the same result every time: remove it",
        ),
        rule(
            ".timeout",
            "!has(self.timeout) || !(has(self.transform) || has(self.wait))",
            "timeout is for call, container and workflow: remove it",
        ),
        rule(
            ".deadlineShare",
            "!has(self.deadlineShare) || !(has(self.transform) || has(self.wait))",
            "deadlineShare is for call, container and workflow: remove it",
        ),
        rule(
            ".deadlineShare",
            "!has(self.deadlineShare) || !has(self.timeout)",
            "deadlineShare and timeout both say how long an attempt may take: remove one of the two",
        ),
        rule(
            ".safety",
            "!has(self.safety) || has(self.call) || has(self.container)",
            "safety is for call and container: remove it",
        ),
        rule(
            ".interruptible",
            "!has(self.interruptible) || has(self.container)",
            "interruptible is for container, since only a pod can be taken away: remove it",
        ),
        rule(
            ".holds",
            "!has(self.holds) || !(has(self.transform) || has(self.workflow))",
            "holds is for call, container and wait, since a transform takes no time and the steps of a child run hold for themselves: remove it",
        ),
        rule(
            ".holds",
            "!has(self.holds) || !has(self.forEach) || has(self.container)",
            "with forEach, holds is for container: put the call into a workflow of its own, with holds, and run that for each item",
        ),
        rule(
            ".outputs",
            "!has(self.outputs) || !has(self.wait)",
            "wait has no result to take outputs from: remove outputs",
        ),
        rule(
            ".forEach",
            "!has(self.forEach) || !has(self.wait)",
            "forEach is for call, container, transform and workflow: remove it, or wait once in a step of its own",
        ),
        rule(
            ".forEach.maxParallel",
            "!has(self.forEach) || !has(self.forEach.maxParallel) || !has(self.transform)",
            "a transform computes all items in one go: remove maxParallel",
        ),
        rule(
            ".retry",
            "!has(self.forEach) || !has(self.container) || !has(self.retry) || !(has(self.retry.backoff) || has(self.retry.errors))",
            "with forEach a container's items are tried again by the Job controller, which waits 10s, 20s, 40s and so on after any failure: remove backoff and errors",
        ),
        rule(
            ".safety",
            "!has(self.forEach) || !has(self.container) || !has(self.safety) || self.safety != 'AtMostOnce'",
            "a Job may start a pod twice, so AtMostOnce cannot be held for a container with forEach: remove it, or use workflow with forEach",
        ),
        rule(
            ".container.env",
            "!has(self.forEach) || !has(self.container) || !has(self.container.env) || !self.container.env.exists(e, e.name in ['JOB_COMPLETION_INDEX', 'MEDLEY_ITEMS'])",
            "with forEach the variables JOB_COMPLETION_INDEX and MEDLEY_ITEMS are set by medley: rename yours",
        ),
    ])
}

/// What the items of a step are.
pub fn for_each() -> Value {
    extension(&[rule(
        "",
        "has(self.items) != has(self.count)",
        "exactly one of items and count must be set: it says what the step is done for",
    )])
}

/// How many items may fail.
pub fn tolerance() -> Value {
    extension(&[rule(
        "",
        "self.matches('^([0-9]{1,5}|[0-9]{1,2}%|100%)$')",
        "must be a number of items in quotes, such as \"3\", or a percentage up to \"100%\", such as \"5%\"",
    )])
}

/// What undoes a step.
pub fn compensation() -> Value {
    extension(&[
        rule(
            "",
            "[has(self.call), has(self.container), has(self.workflow)].filter(a, a).size() == 1",
            "exactly one of call, container and workflow must be set: it says what undoes the step",
        ),
        rule(
            ".safety",
            "!has(self.safety) || has(self.call) || has(self.container)",
            "safety is for call and container: remove it",
        ),
    ])
}

/// The size of a volume.
pub fn volume_size() -> Value {
    extension(&[
        rule(
            "",
            "self.matches('^[0-9]+([.][0-9]+)?(k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)$')",
            "must be a quantity of bytes with a unit, such as 500Mi or 10Gi",
        ),
        rule("", "self.matches('[1-9]')", "must be greater than zero, or nothing could be stored"),
    ])
}

/// Where a volume is put into a container.
pub fn mount_path() -> Value {
    extension(&[
        rule(
            "",
            "self.matches('^(/[A-Za-z0-9._-]+)+$')",
            "must be an absolute path below /, of letters, digits, '.', '_' and '-', without / at the end, such as /workspace",
        ),
        rule(
            "",
            "!self.matches('/[.]{1,2}(/|$)')",
            "must not have a segment . or .., since it would lead somewhere else",
        ),
        rule(
            "",
            "!self.matches('^/(proc|sys|dev|etc)(/|$)')",
            "must not be in /proc, /sys, /dev or /etc, which containers need as they are: choose another, such as /workspace",
        ),
    ])
}

/// Which finished runs are kept.
pub fn retention() -> Value {
    extension(&[rule(
        "",
        "has(self.succeeded) || has(self.failed) || has(self.keep)",
        "at least one of succeeded, failed and keep must be set: it says which finished runs are kept; without retention all are",
    )])
}

/// Headers of a call.
pub fn http_call() -> Value {
    extension(&[rule(
        // The list is keyed by name, but names of headers do not differ by case.
        ".headers",
        "!has(self.headers) || [self.headers.map(h, h.name.lowerAscii())].all(names, names.all(n, names.indexOf(n) == names.lastIndexOf(n)))",
        "a header may be given once, and upper and lower case are the same: join the values",
    )])
}

/// One header of a call.
pub fn header() -> Value {
    extension(&[rule(
        ".name",
        "!(self.name.lowerAscii() in ['host', 'content-length', 'transfer-encoding', 'connection', 'idempotency-key', 'upgrade', 'te', 'trailer'])",
        "this header is set by medley and cannot be given: remove it",
    )])
}
