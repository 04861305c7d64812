//! Capacity in the status of a run: what its steps have, and what they wait for; so, too, the turn to call a service.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;

/// Capacity that a step's attempt has while it is at work. All that is granted of a pool is the sum of these. Where only limits of
/// policies hold for the step, it names no pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Capacity {
    /// The `CapacityPool`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 63))]
    pub pool: String,
    /// Whose share of it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 63))]
    pub share: String,
    /// How much each part has.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::amounts")]
    pub resources: BTreeMap<String, String>,
    /// How many parts: pods or calls at a time of a step with `forEach`; not set for 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 2, max = 1000))]
    pub parts: Option<u32>,
    /// Since when.
    #[schemars(schema_with = "schema::moment")]
    pub since: Timestamp,
    /// It may be taken for something more urgent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interruptible: Option<bool>,
}

/// Where a step stands that waits for capacity, or for its turn to call a service. It is told some seconds after the wait began,
/// and brought up to date from time to time, the most urgent first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Admission {
    /// Since when it waits.
    #[schemars(schema_with = "schema::moment")]
    pub since: Timestamp,
    /// Its place in the order of all that wait for pools of the same tree, or for the service, from 1; not set where there is no
    /// such pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub position: Option<u32>,
    /// Why it waits.
    pub reason: AdmissionReason,
    /// When it will have its turn, should things go on as fast as in the last minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::moment")]
    pub eta: Option<Timestamp>,
}

/// Why a step waits for capacity, or for its turn to call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum AdmissionReason {
    /// There is no such pool, it cannot be used, or no share of it is for this namespace.
    NoPool,
    /// It needs more than it could ever get.
    TooLarge,
    /// Its share has all that it may take.
    ShareLimit,
    /// The pool may not borrow more.
    BorrowLimit,
    /// What is free is kept for shares that do not lend it.
    NotLent,
    /// What is free is reserved for higher urgencies.
    Reserved,
    /// All is in use.
    InUse,
    /// What is free is kept for a step that comes before it.
    Behind,
    /// Others are being displaced for it.
    Preempting,
    /// As much is at work as a `ServicePolicy` allows (`scheduling.limits`).
    PolicyLimit,
    /// The service that it calls has as many calls as it is sent at a time.
    ServiceBusy,
    /// Calls to the service are spaced in time.
    ServiceRate,
    /// All endpoints of the service are left alone after failures.
    ServicePaused,
}

impl AdmissionReason {
    /// What it means, for people.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::NoPool => "there is no such CapacityPool, or no share of it is for this namespace",
            Self::TooLarge => {
                "it needs more than it could ever get: ask for less, or enlarge the pool or the share's limit"
            }
            Self::ShareLimit => "its share has all that it may take",
            Self::BorrowLimit => "its pool may not borrow more",
            Self::NotLent => "what is free is kept for shares that do not lend it",
            Self::Reserved => "what is free is reserved for higher urgencies",
            Self::InUse => "all is in use",
            Self::Behind => "what is free is kept for a step that comes before it",
            Self::Preempting => "less urgent steps are giving way to it",
            Self::PolicyLimit => "as much is at work as a ServicePolicy allows (scheduling.limits)",
            Self::ServiceBusy => "its service has as many calls as it is sent at a time",
            Self::ServiceRate => "calls to its service are spaced in time",
            Self::ServicePaused => "all endpoints of its service are left alone after failures",
        }
    }
}
