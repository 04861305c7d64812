//! What benches share.

#![allow(dead_code, reason = "benches each use their part")]
#![allow(clippy::unwrap_used, reason = "a bench ends at the first surprise")]

pub(crate) mod figures;
pub(crate) mod kubelet;
pub(crate) mod link;
pub(crate) mod observer;
pub(crate) mod processor;
