//! Clients of medical protocols: they talk to services and know nothing of Kubernetes.

pub mod calls;
pub mod dicom;
mod dicom_call;
pub mod dicom_probe;
pub mod dicomweb_probe;
pub mod fhir_probe;
pub mod grpc_probe;
mod hl7_call;
pub mod hl7_probe;
pub mod http;
pub mod http_probe;
mod identity;
pub mod mllp;
pub mod probe;
mod secure;
pub mod tcp;
pub mod tls;
mod verdict;
