//! medley: a Kubernetes operator that orchestrates medical services.
//!
//! How a change flows through the house:
//!
//! ```text
//! watch event ─ cluster/watch ─→ cluster/cache ─ cluster/observe ─→ View (plain values)
//!                                                                    │  + now
//!                                                               core/*/decide   pure
//!                                                                    │
//!         loops/{runs, services, workflows} ─→ cluster/perform:  Decision
//!         runs: status (the intent), then pods, then calls          ─┘
//!         services, workflows: objects, then the status that reports them
//!                    │
//!         loops/dispatcher · prober · resolver ─ outcomes, in memory ─→ next View of the same object
//! ```
//!
//! Arrows go down only: main → cli → operator → {loops, serve} → cluster → {core, render} → api, and loops → medical → core.
//! `core` and `render` are pure: no clock, random source, client, runtime, environment or log.

pub mod api;
pub mod cli;
pub mod cluster;
pub mod core;
pub mod loops;
pub mod medical;
pub mod operator;
pub mod render;
pub mod serve;
pub mod telemetry;
