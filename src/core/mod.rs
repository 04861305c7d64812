//! PURE decisions: no clock, no random source, no client, no runtime, no environment, no log. Time and chance come in as
//! arguments. `clippy.toml` and `tests/purity.rs` hold this.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod condition;
pub mod coordination;
pub mod dicom;
pub mod discovery;
pub mod dispatch;
pub mod expression;
pub mod graph;
pub mod grpc;
pub mod hl7;
pub mod lint;
pub mod monitoring;
pub mod name;
pub mod note;
pub mod prospect;
pub mod refusal;
pub mod registry;
pub mod scheduling;
pub mod simulate;
pub mod suggest;
