//! What a registered service needs to be found: the objects that give it a name in cluster DNS, the endpoints behind the
//! name, and what its status says.
//!
//! [`service::decide`] is the one entry. `capability` is what endpoints can do; `view` is what it sees, `decision` what it answers; `external` works out the
//! endpoints of hosts outside the cluster, `pods` reads those that Kubernetes keeps, `gate` says which of a workload's pods medley
//! itself finds ready, `rollout` reads a Deployment, `status` puts it into words. `defaults` is the only place that knows what a field means when it is not set.

pub mod address;
pub mod capability;
pub mod decision;
pub mod defaults;
mod external;
pub mod gate;
pub mod guard;
pub mod lookup;
mod pods;
mod probing;
pub mod query;
mod rollout;
#[cfg(test)]
mod scenarios;
pub mod service;
mod status;
pub mod target;
pub mod view;
