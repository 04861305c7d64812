//! A step that is done for many items: what it is given, and what its status tells.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{rules, schema, vocabulary::ErrorClass};

/// Does the step's action once for each item. Its expressions and templates see the item as `item` and its number, from 0, as
/// `index`. `when` and `compensate` are read once for the whole step; `retry`, `timeout` and `safety` hold for each item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::for_each()))]
pub struct ForEach {
    /// Expression that gives the items: a list of up to 10000 values, or a number n for the items 0 to n-1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub items: Option<String>,
    /// How many items there are, each being its own index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10000))]
    pub count: Option<u16>,
    /// How many items may be under way together, those that wait for another attempt included; 10 when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_parallel: Option<u16>,
    /// How many items may fail without failing the step: a number such as "3", or a percentage of all such as "5%"; none when
    /// not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 5), extend("x-kubernetes-validations" = rules::tolerance()))]
    pub tolerate: Option<String>,
}

/// The items of a step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ItemsStatus {
    /// How many there are.
    pub total: u32,
    /// How many are done.
    pub succeeded: u32,
    /// How many have failed for good.
    pub failed: u32,
    /// How many are under way: at work, stopping, or waiting for their next attempt.
    pub active: u32,
    /// Which ones, as ranges such as `0-99,105`; where ranges would take more room, as a bitmap in hex (`0x…`: digit k holds
    /// the indexes 4k to 4k+3, the lowest as 1). Items in none of these wait for their turn.
    #[serde(default, skip_serializing_if = "ItemIndexes::is_empty")]
    pub indexes: ItemIndexes,
    /// The attempt of those items under way, or of unknown outcome, that are not in their first or whose requests were sent again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000), extend("x-kubernetes-list-type" = "atomic"))]
    pub attempts: Vec<ItemAttempts>,
    /// The first ten items that failed; `failed` counts all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10), extend("x-kubernetes-list-type" = "atomic"))]
    pub failures: Vec<ItemFailure>,
}

/// Which items are where.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ItemIndexes {
    /// Done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2600))]
    pub succeeded: Option<String>,
    /// Failed for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2600))]
    pub failed: Option<String>,
    /// At work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2600))]
    pub running: Option<String>,
    /// Told to stop, and not ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2600))]
    pub stopping: Option<String>,
    /// `AtMostOnce`, and nobody knows whether they took effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2600))]
    pub unknown: Option<String>,
    /// Stopped before their end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2600))]
    pub canceled: Option<String>,
}

impl ItemIndexes {
    /// Whether no item has begun.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Items that are in the same attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ItemAttempts {
    /// Which attempt, from 1.
    pub attempt: u32,
    /// Counts the attempts that are known to have failed: part of the idempotency key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_failures: Option<u32>,
    /// Their requests were sent before, by a leader that was interrupted: they may have taken effect, whatever comes of their
    /// repetition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resent: Option<bool>,
    /// When it begins; it has begun when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::moment")]
    pub wake_at: Option<Timestamp>,
    /// The items, as ranges.
    #[schemars(length(max = 2600))]
    pub indexes: String,
}

/// An item that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ItemFailure {
    /// Which item.
    pub index: u32,
    /// Kind of its last failure.
    pub reason: ErrorClass,
    /// What happened, for people.
    #[schemars(length(max = 256))]
    pub message: String,
}
