//! The CEL rules that the API server holds, and the words that a user sees when one does not hold.
//!
//! A message says what is wrong and what to do; the server puts the path of the field before it. Lists and names are
//! bounded in the schema, because the server refuses a rule whose estimated cost is too high.
//!
//! Two forms need a word: `[x].all(name, …)` gives `x` a name (there is no `cel.bind` in these rules), and `dyn(object).field`
//! reaches a field that may hold any JSON value, which the server hides from the type checker but does compare.

mod calls;
mod dicom;
mod fhir;
mod query;
mod run;
mod scheduling;
mod service;
mod workflow;

use serde_json::{Value, json};

pub use calls::*;
pub use dicom::*;
pub use fhir::*;
pub use query::*;
pub use run::*;
pub use scheduling::*;
pub use service::*;
pub use workflow::*;

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

/// The epoch of the leader that wrote a status.
pub fn leader_epoch() -> Value {
    extension(&[rule("", "self >= oldSelf", "never decreases: the writer is no longer the leader and must stop")])
}

/// A status that only reports.
pub fn reporting_status() -> Value {
    extension(&[EPOCH_STAYS])
}

const EPOCH_STAYS: Rule = rule(
    ".leaderEpoch",
    "has(self.leaderEpoch) || !has(oldSelf.leaderEpoch)",
    "cannot be removed: it keeps a former leader from writing",
);

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

/// How soon a run must have ended.
pub fn deadline() -> Value {
    extension(&[SPAN, rule("", "self.matches('[1-9]')", "must be longer than zero, or no run could ever succeed")])
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
