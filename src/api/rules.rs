//! The CEL rules that the API server holds, and the words that a user sees when one does not hold.
//!
//! A message says what is wrong and what to do; the server puts the path of the field before it. Lists and names are
//! bounded in the schema, because the server refuses a rule whose estimated cost is too high.
//!
//! Two forms need a word: `[x].all(name, …)` gives `x` a name (there is no `cel.bind` in these rules), and `dyn(object).field`
//! reaches a field that may hold any JSON value, which the server hides from the type checker but does compare.

use serde_json::{Value, json};

/// One rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The field below the rule's place that the message is about; empty for the place itself.
    pub path: &'static str,
    /// CEL over `self`, and `oldSelf` in a rule about changes.
    pub cel: &'static str,
    /// What is wrong and what to do.
    pub message: &'static str,
}

const fn rule(path: &'static str, cel: &'static str, message: &'static str) -> Rule {
    Rule { path, cel, message }
}

/// As the schema extension `x-kubernetes-validations`.
fn extension(rules: &[Rule]) -> Value {
    rules
        .iter()
        .map(|r| match r.path {
            "" => json!({ "rule": r.cel, "message": r.message }),
            path => json!({ "rule": r.cel, "message": r.message, "fieldPath": path }),
        })
        .collect()
}

/// A name that becomes part of a DNS name.
pub fn dns_label() -> Value {
    extension(&[rule(
        "",
        "self.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
        "must be lower-case letters, digits and '-', with a letter at the start and a letter or digit at the end",
    )])
}

/// A name that expressions use.
pub fn identifier() -> Value {
    extension(&[rule(
        "",
        "self.matches('^[a-z][a-zA-Z0-9]*$')",
        "must be letters and digits with a lower-case letter at the start, since expressions use it; write studyUid, not study-uid",
    )])
}

/// A container image.
pub fn image() -> Value {
    extension(&[rule(
        "",
        "!self.matches('[[:space:]]')",
        "must be the name of an image without spaces, such as registry.example/team/app:1.2",
    )])
}

/// The name of an environment variable.
pub fn variable() -> Value {
    extension(&[rule(
        "",
        "self.matches('^[A-Za-z_]\\\\w*$')",
        "must be letters, digits and '_', without a digit at the start, such as LOG_LEVEL",
    )])
}

/// A quantity of a resource.
pub fn quantity() -> Value {
    extension(&[rule(
        "",
        "self.matches('^[0-9]+([.][0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$')",
        "must be a quantity in quotes or with a unit, such as \"2\", 500m or 1Gi",
    )])
}

/// A path that is put before others.
pub fn url_path() -> Value {
    extension(&[rule(
        "",
        "self.matches('^/')",
        "must be a path that begins with /, such as /api: host and port are the service's",
    )])
}

/// A length of time.
pub fn span() -> Value {
    extension(&[SPAN])
}

const SPAN: Rule = rule(
    "",
    "self.matches('^([0-9]{1,6}(ms|s|m|h)){1,4}$')",
    "must be numbers with the units ms, s, m or h, such as 500ms, 10s or 1m30s",
);

/// A length of time that is not zero.
pub fn positive_span() -> Value {
    extension(&[SPAN, rule("", "self.matches('[1-9]')", "must be longer than zero, or no attempt could ever succeed")])
}

/// A span that the kubelet's probes can hold.
pub fn probe_span() -> Value {
    extension(&[rule(
        "",
        "self.matches('^[1-9][0-9]{0,3}(s|m)$')",
        "must be one whole number of s or m from 1 to 9999, such as 10s or 2m: probes know nothing finer",
    )])
}

/// Requests and limits of a container.
pub fn resources() -> Value {
    extension(&[rule(
        ".requests",
        "!has(self.requests) || !has(self.limits) || self.requests.all(k, !(k in self.limits) || !isQuantity(self.requests[k]) || !isQuantity(self.limits[k]) || quantity(self.requests[k]).compareTo(quantity(self.limits[k])) <= 0)",
        "a request must not exceed the limit of the same resource: lower the request or raise the limit",
    )])
}

/// Names of resources in a map of quantities.
pub fn resource_names() -> Value {
    extension(&[rule(
        "",
        "self.all(k, k.matches('^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[a-z0-9]([-a-z0-9_.]{0,61}[a-z0-9])?$'))",
        "each key must be the name of a resource, such as cpu, memory, ephemeral-storage or nvidia.com/gpu",
    )])
}

/// Keys of labels.
pub fn label_keys() -> Value {
    extension(&[rule(
        "",
        "self.all(k, k.matches('^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))",
        "each key must be the key of a label, such as app or app.kubernetes.io/name",
    )])
}

/// Rules that see a whole `MedicalService`.
pub(super) fn medical_service() -> Vec<Rule> {
    vec![rule(
        // The owned Service has the same name, and a Service's name must be a DNS-1035 label.
        "",
        "self.metadata.name.size() <= 63 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
        "metadata.name: must be a DNS label of at most 63 characters that starts with a letter, since the Service in cluster DNS has the same name",
    )]
}

/// Rules of a `MedicalService`'s spec.
pub fn medical_service_spec() -> Value {
    extension(&[
        rule(
            "",
            "[has(self.workload), has(self.select), has(self.external)].filter(b, b).size() == 1",
            "exactly one of workload, select and external must be set: it says who runs the service",
        ),
        rule(
            ".urgency",
            "!has(self.urgency) || has(self.workload)",
            "urgency is the PriorityClass of the workload's pods: remove it, or set workload",
        ),
        rule(
            // A Service holds each port number once.
            ".interfaces",
            "self.interfaces.all(a, self.interfaces.exists_one(b, b.port == a.port))",
            "each interface must have a port of its own, since a Service holds each port once: change one port (and set targetPort where the pods listen on another)",
        ),
        rule(
            ".interfaces",
            "!has(self.select) || !self.interfaces.exists(i, has(i.probe))",
            "probe has no effect with select, where the pods' own readiness probes decide: remove probe",
        ),
        rule(
            ".interfaces",
            "!has(self.workload) || self.interfaces.filter(i, has(i.probe)).size() <= 1",
            "a workload's pod has one readiness probe: set probe on one interface only",
        ),
        rule(
            ".interfaces",
            "!has(self.external) || !self.interfaces.exists(i, has(i.probe) && has(i.probe.level) && i.probe.level == 'Protocol' && !(i.protocol in ['HTTP', 'FHIR']))",
            "probe.level Protocol of an external service works for the protocols HTTP and FHIR: set level Transport",
        ),
        rule(
            ".interfaces",
            "!has(self.external) || !self.interfaces.exists(i, has(i.targetPort))",
            "targetPort is for workload and select, an external service listens on port itself: remove targetPort",
        ),
    ])
}

/// A host outside the cluster.
pub fn external_endpoint() -> Value {
    extension(&[
        rule(
            ".host",
            "!isIP(self.host) || !(ip(self.host).isLoopback() || ip(self.host).isUnspecified() || ip(self.host).isLinkLocalUnicast() || ip(self.host).isLinkLocalMulticast())",
            "must not be a loopback, link-local or unspecified address, since Kubernetes refuses these as endpoints: give the host's address in the network",
        ),
        rule(
            ".host",
            "isIP(self.host) || (self.host.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$') && !self.host.matches('^[0-9.]+$'))",
            "must be an IPv4 address such as 192.0.2.7, an IPv6 address such as 2001:db8::7, or a DNS name in lower case; without scheme and port",
        ),
    ])
}

/// One way to talk to a service.
pub fn interface() -> Value {
    extension(&[
        rule(
            ".http",
            "!has(self.http) || self.protocol in ['HTTP', 'DICOMweb']",
            "http is for the protocols HTTP and DICOMweb: remove it or change protocol",
        ),
        rule(
            ".fhir",
            "!has(self.fhir) || self.protocol == 'FHIR'",
            "fhir is for the protocol FHIR: remove it or change protocol",
        ),
        rule(
            ".grpc",
            "!has(self.grpc) || self.protocol == 'GRPC'",
            "grpc is for the protocol GRPC: remove it or change protocol",
        ),
        rule(
            ".http",
            "!has(self.http) || !has(self.http.healthPath) || self.protocol != 'DICOMweb'",
            "healthPath is for the protocol HTTP, DICOMweb is probed on the transport level: remove healthPath",
        ),
        rule(
            ".probe",
            "!has(self.probe) || !has(self.probe.level) || self.probe.level == 'Transport' || self.protocol in ['HTTP', 'FHIR', 'GRPC']",
            "level Protocol works for the protocols HTTP, FHIR and GRPC: set level Transport",
        ),
    ])
}

/// Rules that see a whole `Workflow`.
pub(super) fn workflow() -> Vec<Rule> {
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
            ".parameters",
            "!has(self.start) || !has(self.parameters) || !self.parameters.exists(p, has(p.required) && p.required)",
            "a run made by start OnApply gives no parameters, so none can be required: give each a default, or remove start",
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
    ])
}

/// One step of a workflow.
pub fn step() -> Value {
    extension(&[
        rule(
            "",
            "[has(self.call), has(self.container), has(self.transform), has(self.wait)].filter(a, a).size() == 1",
            "exactly one of call, container, transform and wait must be set: it says what the step does",
        ),
        rule(
            ".retry",
            "!has(self.retry) || has(self.call) || has(self.container)",
            "retry is for call and container, since transform and wait give the same result every time: remove it",
        ),
        rule(
            ".timeout",
            "!has(self.timeout) || has(self.call) || has(self.container)",
            "timeout is for call and container: remove it",
        ),
        rule(
            ".safety",
            "!has(self.safety) || has(self.call) || has(self.container)",
            "safety is for call and container: remove it",
        ),
        rule(
            ".outputs",
            "!has(self.outputs) || !has(self.wait)",
            "wait has no result to take outputs from: remove outputs",
        ),
    ])
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

/// Rules that see a whole `WorkflowRun`, old and new.
pub(super) fn workflow_run() -> Vec<Rule> {
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

/// Rules of a run's status: what has happened stays.
pub fn workflow_run_status() -> Value {
    extension(&[
        rule(
            ".leaderEpoch",
            "has(self.leaderEpoch) || !has(oldSelf.leaderEpoch)",
            "cannot be removed: it keeps a former leader from writing",
        ),
        rule(".phase", "has(self.phase) || !has(oldSelf.phase)", "cannot be removed: it records where the run is"),
        rule(
            ".steps",
            "!has(oldSelf.steps) || oldSelf.steps.all(n, !(oldSelf.steps[n].phase in ['Succeeded', 'Skipped', 'Failed', 'Unknown', 'Canceled']) || (has(self.steps) && n in self.steps))",
            "a step that has ended cannot be removed: it records what the run has done",
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

/// The leader's epoch.
pub fn leader_epoch() -> Value {
    extension(&[rule("", "self >= oldSelf", "never decreases: the writer is no longer the leader and must stop")])
}

/// A step's phase.
pub fn step_phase() -> Value {
    extension(&[rule(
        "",
        "!(oldSelf in ['Succeeded', 'Skipped', 'Failed', 'Unknown', 'Canceled']) || self == oldSelf",
        "Succeeded, Skipped, Failed, Unknown and Canceled are final: create a new WorkflowRun",
    )])
}
