//! The registry for programs that do not speak Kubernetes: what is told of services and of answers to queries, how it lies in a store
//! beside the cluster, and whose store that is; and what is answered to who asks over HTTP.

mod answer;
pub mod ask;
mod content;
pub mod fhir;
pub mod filter;
mod holder;
mod item;
mod problem;
mod record;
mod reply;

pub use answer::{Answer, encode, read};
pub use content::{Command, Content, Fields, Held, MANAGED_BY, MANAGER, QUERIES, SERVICES, key_of, plan, sets_of};
pub use holder::{Claim, Holder, judge};
pub use item::{Item, Kind, Told};
pub use problem::Problem;
pub use record::{EndpointRecord, InterfaceRecord, MAX_ENDPOINTS, Record, needs_slices};
pub use reply::Reply;
