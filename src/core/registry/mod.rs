//! The registry for programs that do not speak Kubernetes: what is told of a service, how it lies in a store beside the cluster, and
//! whose store that is; and what is answered to who asks over HTTP.

mod answer;
mod content;
pub mod fhir;
pub mod filter;
mod holder;
mod problem;
mod record;

pub use answer::{Answer, encode, read};
pub use content::{Command, Content, Fields, Held, MANAGED_BY, MANAGER, SERVICES, key_of, plan, sets_of};
pub use holder::{Claim, Holder, judge};
pub use problem::Problem;
pub use record::{EndpointRecord, InterfaceRecord, MAX_ENDPOINTS, Record, needs_slices};
