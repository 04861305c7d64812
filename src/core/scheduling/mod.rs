//! Who gets capacity: P(service given resources). Pools and shares, demands in the order of clinical urgency, and who gives way.
//!
//! [`Book`] is told what is asked for and what is held, and rules on it in passes. It knows no clock and no cluster: the operator
//! feeds it from watches, `plan` from a snapshot, tests from chance.

pub mod amounts;
mod book;
mod bounds;
mod demand;
mod domain;
mod foresee;
mod ledger;
pub mod nodes;
mod pass;
mod rank;
mod rate;
mod report;
mod rules;
mod specs;
pub mod telling;
mod tree;
pub mod windows;

pub use book::{Book, PoolProblem};
pub use bounds::{Bound, BoundKey, Work};
pub use demand::{Claimant, Demand, Holding, Ruling, Waits};
pub use foresee::{Course, Foreseen};
pub use ledger::{Entry, Ledger, News};
pub use rank::Aging;
pub use rate::Rate;
pub use report::{Standing, Usage};
pub use rules::{Rules, share_of};
pub use specs::{definition, report};
pub use tree::{PoolDefinition, Quantities, ShareDefinition, Shortage};
