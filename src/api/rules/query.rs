//! Rules of `ServiceQuery`, and of what queries ask services for.

use serde_json::Value;

use super::{Rule, extension, rule};

/// Rules that see a whole `ServiceQuery`.
pub(in crate::api) fn service_query() -> Vec<Rule> {
    vec![rule(
        // The owned Service has the same name, and a Service's name must be a DNS-1035 label.
        "",
        "self.metadata.name.size() <= 63 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
        "metadata.name: must be a DNS label of at most 63 characters that starts with a letter, since the answer's Service in cluster DNS has the same name",
    )]
}

/// Rules of a `ServiceQuery`'s spec.
pub fn service_query_spec() -> Value {
    extension(&[rule(
        "",
        "has(self.protocol) || has(self.interface)",
        "endpoints of one answer must speak the same: set protocol, interface or both",
    )])
}

/// Which endpoints.
pub fn endpoint_selector() -> Value {
    extension(&[rule(
        "",
        "(has(self.zones) && self.zones.size() > 0) || (has(self.attributes) && self.attributes.size() > 0)",
        "selects nothing in particular: set zones, attributes or both",
    )])
}

/// What makes one endpoint better than another.
pub fn preferences() -> Value {
    extension(&[rule(
        "",
        "has(self.health) || has(self.latency) || (has(self.signals) && self.signals.size() > 0) || (has(self.matching) && self.matching.size() > 0)",
        "prefers nothing: set health, latency, signals or matching, or remove prefer",
    )])
}

/// Keys of attributes.
pub fn attribute_keys() -> Value {
    extension(&[rule(
        "",
        "self.all(k, k.matches('^[A-Za-z][-A-Za-z0-9_.]{0,62}$'))",
        "each key must be at most 63 letters, digits, '-', '_' and '.', with a letter at the start, such as site or modelVersion",
    )])
}
