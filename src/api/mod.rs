//! The custom resources of `medley.health/v1alpha1` and their vocabulary: schema and CEL rules, no logic.
//!
//! Every string, list and map has a stated maximum, since the API server estimates the cost of each CEL rule from them.
//! No schema has a `default:`: server-side defaults keep GitOps tools out of sync; defaults are applied in memory.

#![allow(clippy::duplicated_attributes, reason = "the printcolumn attributes of one kind have the same type")]

pub mod admission;
pub mod call;
pub mod call_limits;
pub mod capacity_pool;
pub mod data_use;
pub mod dicom;
pub mod fan_out;
pub mod fhir;
pub mod fhir_capability;
pub mod flow;
pub mod instances;
pub mod interface;
pub mod measurements;
pub mod medical_service;
pub mod objectives;
pub mod rules;
pub mod schema;
pub mod selector;
pub mod service_policy;
pub mod service_query;
pub mod span;
pub mod status;
pub mod step;
pub mod step_status;
pub mod tls;
pub mod vocabulary;
pub mod workflow;
pub mod workflow_run;

pub use capacity_pool::{CapacityPool, CapacityPoolSpec, CapacityPoolStatus};
pub use medical_service::{MedicalService, MedicalServiceSpec, MedicalServiceStatus};
pub use service_policy::{ServicePolicy, ServicePolicySpec};
pub use service_query::{ServiceQuery, ServiceQuerySpec, ServiceQueryStatus};
pub use span::Span;
pub use vocabulary::{ErrorClass, Protocol, Safety, Urgency};
pub use workflow::{Workflow, WorkflowSpec, WorkflowStatus};
pub use workflow_run::{WorkflowRun, WorkflowRunSpec, WorkflowRunStatus};

/// API group of all kinds.
pub const GROUP: &str = "medley.health";
/// Version of all kinds.
pub const VERSION: &str = "v1alpha1";
/// `apiVersion` of all kinds.
pub const API_VERSION: &str = "medley.health/v1alpha1";
