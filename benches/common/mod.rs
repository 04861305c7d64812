//! What benches share.

#![allow(dead_code, reason = "benches each use their part")]
#![allow(clippy::unwrap_used, reason = "a bench ends at the first surprise")]

pub(crate) mod figures;
pub(crate) mod kubelet;
pub(crate) mod link;
pub(crate) mod observer;
pub(crate) mod processor;
pub(crate) mod range;

/// What figures of a cluster are measured with.
pub(crate) const WITH_A_CLUSTER: &str =
    "operator, control plane and this bench share them; operator's client without rate limit; 16 workers a kind";
