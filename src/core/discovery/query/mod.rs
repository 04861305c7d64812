//! Which services can do this now: P(service given query).
//!
//! [`decide::decide`] is the one entry. `known` reads the endpoints of a service and whether they are ready, `filter` tells which
//! services match and why others do not, `latency` how long they take, `rank` which of their endpoints are how good, `answer` puts these together,
//! `status` puts it into words. `follows` is about when these are written.

pub mod answer;
pub mod decide;
pub mod filter;
pub mod follows;
pub mod known;
pub mod latency;
pub mod rank;
mod status;
pub mod view;
