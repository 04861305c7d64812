//! Who asks for capacity, who has it, and what is decided about both.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::{
    api::vocabulary::Urgency,
    core::{
        name::Key,
        scheduling::{
            bounds::Bound,
            rank::Aging,
            tree::{Quantities, Shortage},
        },
    },
};

/// One attempt of one step of a run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Claimant {
    /// The run.
    pub run: Key,
    /// Its UID: a run that is made anew under the same name is another one.
    pub uid: String,
    /// The step's id.
    pub step: String,
    /// Which attempt, from 1.
    pub attempt: u32,
}

/// A step that is ready but for capacity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demand {
    /// Who asks.
    pub claimant: Arc<Claimant>,
    /// The pool that it asks; empty when it needs nothing but room within limits.
    pub pool: String,
    /// The share of the pool that it counts to.
    pub share: String,
    /// How soon the result is needed.
    pub urgency: Urgency,
    /// Since when it waits.
    pub since: Timestamp,
    /// After so long it rises one level, to `urgent` at most; after twice as long it comes first among its equals, and nothing
    /// overtakes it any more.
    pub aging: Option<SignedDuration>,
    /// What each of its parts needs.
    pub unit: Quantities,
    /// Limits of policies, of which each of its parts takes one.
    pub bounds: Vec<Bound>,
    /// How many parts it has use for.
    pub count: u32,
    /// With fewer than this it cannot begin: all of them for what must run together.
    pub least: u32,
    /// Whether it may displace interruptible steps of lower urgency.
    pub preempts: bool,
    /// Whether it may be displaced by what is more urgent, once it has begun.
    pub interruptible: bool,
    /// While it waits, nothing of its share that comes after it is admitted.
    pub strict: bool,
}

impl Demand {
    /// What decides in which order it comes.
    pub(super) const fn ages(&self) -> Aging {
        Aging { urgency: self.urgency, since: self.since, aging: self.aging }
    }
}

/// Capacity that a step has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// What it has asked for.
    pub demand: Demand,
    /// How many parts it was granted.
    pub count: u32,
    /// Since when it has them.
    pub since: Timestamp,
}

/// What is decided in a pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// It has the capacity for so many of its parts.
    Granted {
        /// Who asked.
        claimant: Arc<Claimant>,
        /// How many parts.
        count: u32,
    },
    /// It is to give up its capacity.
    Preempted {
        /// Who has it.
        victim: Arc<Claimant>,
        /// For whom.
        by: Arc<Claimant>,
    },
}

/// Why a demand waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Waits {
    /// There is no such pool, or no such share of it.
    NoPool,
    /// What it needs cannot be taken.
    Short(Shortage),
    /// What is free is kept for a demand that comes before it.
    Behind,
    /// Others are being displaced for it.
    Preempting,
}
