//! `ServiceQuery`: which services can do this now? A question that stays answered, with a name in cluster DNS.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    data_use::{Confidentiality, Purpose},
    rules, schema,
    vocabulary::Protocol,
};

/// Shown by `kubectl explain mq`.
pub const DESCRIPTION: &str =
    "Asks which services can do something now. The answer stays current, and its name resolves in cluster DNS.";

/// What is asked. A service matches when it fulfils all that is set.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "medley.health",
    version = "v1alpha1",
    kind = "ServiceQuery",
    plural = "servicequeries",
    namespaced,
    status = "ServiceQueryStatus",
    derive = "PartialEq",
    shortname = "mq",
    category = "medley",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Matches", type_ = "integer", json_path = ".status.matched"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Empty')].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "DNS", type_ = "string", json_path = ".status.dnsName", priority = "1")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::service_query_spec()))]
pub struct ServiceQuerySpec {
    /// What the service must be able to do: one of its `capabilities`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub capability: Option<String>,
    /// What one of its interfaces must speak. The first that does is the one that answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
    /// Name of the interface that answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 15), regex(pattern = "^[a-z]([-a-z0-9]*[a-z0-9])?$"), extend("x-kubernetes-validations" = rules::dns_label()))]
    pub interface: Option<String>,
    /// Expression (CEL) that must be true of `service`: its `name`, `labels`, `capabilities`, `attributes`, `interfaces` (each with
    /// `name`, `port`, `protocol`), `data` (`maxConfidentiality`, `purposes`, where they are set), and `fhir` and `dicom`, which are
    /// what its probes found, as in its status; both are empty before. A service for which it fails is left out: ask `'site' in service.attributes` before `service.attributes.site`.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub where_: Option<String>,
    /// What the data are used for: one of the service's `data.purposes` must admit it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<Purpose>,
    /// How confidential the data are, as in `data.maxConfidentiality` of a service, which must not be below it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidentiality: Option<Confidentiality>,
    /// Port of the answer's Service; the endpoints keep their own ports. Its name is `interface`, or else the protocol in lower case:
    /// `_<name>._tcp.<query>…` is its SRV record.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// Where the answer comes from, best first: it holds the endpoints of the first tier that has any that are ready. Endpoints that
    /// are in none come last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    pub tiers: Vec<EndpointSelector>,
    /// What makes one endpoint better than another. Without it all are as good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefer: Option<Preferences>,
    /// How much a better score counts, in percent: endpoints are chosen with a probability in proportion to
    /// exp(score / (temperature / 100)). 100 when not set; a lower one goes for the best, a higher one spreads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10000))]
    pub temperature: Option<u16>,
    /// Most endpoints of the answer, the best ones; 100 when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub max_targets: Option<u16>,
    /// What the answer is when services match and none of their endpoints is ready. Keep: the endpoints of the last good answer that
    /// are still registered, with the condition `Panic`. Empty: none. Keep when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when_none_ready: Option<WhenNoneReady>,
}

/// Which endpoints: those that fulfil all that is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = rules::endpoint_selector()))]
pub struct EndpointSelector {
    /// In one of these topology zones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 63)), extend("x-kubernetes-list-type" = "set"))]
    pub zones: Vec<String>,
    /// Of a service that has all of these attributes with these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::attributes")]
    pub attributes: BTreeMap<String, String>,
}

/// What makes one endpoint better than another: its score is the sum of these.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = rules::preferences()))]
pub struct Preferences {
    /// Weight of its service's health: times the share of the service's known endpoints that are ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub health: Option<u8>,
    /// Weight of how quickly its service answers: times the median of the fastest in the answer's tier by that of its own, as far as
    /// `status.measurements` of the services tell them. A median up to 22 % longer counts as the same; a service of which nothing is learned
    /// has the mean of the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub latency: Option<u8>,
    /// Weights of what Prometheus says of its service: times the value of the signal, from 0 to 1. Signals are defined where the operator
    /// is installed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub signals: Vec<SignalWeight>,
    /// Weights of what it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub matching: Vec<Preference>,
}

/// A weight for what a signal says of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SignalWeight {
    /// Name of the signal. One that the operator does not know counts nothing, and the condition `SignalsRead` says so.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// What the value 1 adds to the score.
    #[schemars(range(min = 1, max = 100))]
    pub weight: u8,
}

/// A weight for some endpoints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Preference {
    /// Which endpoints.
    #[serde(rename = "match")]
    pub matches: EndpointSelector,
    /// What it adds to their score.
    #[schemars(range(min = 1, max = 100))]
    pub weight: u8,
}

/// What the answer is when no endpoint is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = schema::field_speaks)]
pub enum WhenNoneReady {
    /// The last good one.
    Keep,
    /// Nothing.
    Empty,
}

/// The answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::reporting_status()))]
pub struct ServiceQueryStatus {
    /// Generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Lease transitions of the leader that wrote this: a former leader's write is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = rules::leader_epoch()))]
    pub leader_epoch: Option<i64>,
    /// `Ready`: accepted and named in cluster DNS. `Empty`: nothing is in the answer. `Panic`: none of the endpoints is ready, and the
    /// last good answer is kept. `SignalsRead`: all signals that it names are known and read; absent where it names none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// The answer's name in cluster DNS. Its Service spreads evenly over the matches, whatever their probabilities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub dns_name: Option<String>,
    /// How many endpoints the answer has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matched: Option<u32>,
    /// The answer, best first. It is written anew when its endpoints change, or a probability by 5 percent of all or more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), extend("x-kubernetes-list-type" = "atomic"))]
    pub matches: Vec<QueryMatch>,
    /// Services of the namespace that are not in the answer, those first that came nearest; the first 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), extend("x-kubernetes-list-type" = "atomic"))]
    pub excluded: Vec<QueryExclusion>,
}

/// One endpoint of the answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QueryMatch {
    /// Name of its `MedicalService`.
    #[schemars(length(max = 63))]
    pub service: String,
    /// Name of its interface.
    #[schemars(length(max = 15))]
    pub interface: String,
    /// `address:port`.
    #[schemars(length(max = 64))]
    pub endpoint: String,
    /// Its topology zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub zone: Option<String>,
    /// Its tier, from 1; one more than there are tiers when it is in none. Absent where the query has no tiers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<u8>,
    /// How probable it is to be the best choice, in percent; those of all matches add to 100.
    #[schemars(range(min = 0, max = 100))]
    pub probability: u8,
    /// What its score is made of.
    pub score: QueryScore,
}

/// The parts of a score, in hundredths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QueryScore {
    /// From `prefer.health`.
    pub health: u32,
    /// From `prefer.latency`; absent where that is not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<u32>,
    /// From `prefer.signals`; absent where that names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signals: Option<u32>,
    /// From `prefer.matching`.
    pub matching: u32,
}

/// A service that is not in the answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QueryExclusion {
    /// Name of the `MedicalService`.
    #[schemars(length(max = 63))]
    pub service: String,
    /// Why.
    pub reason: ExclusionReason,
}

/// Why a service is not in an answer; those that come nearest to it first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ExclusionReason {
    /// It matches, and better endpoints fill `maxTargets`.
    BeyondMaxTargets,
    /// It matches, and an earlier tier answers.
    LaterTier,
    /// It matches, and none of its endpoints is ready.
    NoneReady,
    /// `where` is false.
    Where,
    /// `where` cannot be evaluated, or all services together take too long.
    WhereFailed,
    /// Its `data.maxConfidentiality` is below what is asked, or not set.
    Confidentiality,
    /// None of its `data.purposes` admits the one that is asked.
    Purpose,
    /// It has no such interface.
    Interface,
    /// It lacks the capability.
    Capability,
}
