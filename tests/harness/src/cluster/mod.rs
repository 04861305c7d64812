//! A real Kubernetes on one machine, without Docker, registry or cloud.
//!
//! Two [profiles](Profile): `fake` is a control plane whose nodes and pods are played by kwok, needs no root and binds
//! loopback only; `node` adds one real node (kubelet, containerd, kube-proxy, CoreDNS) in namespaces of its own.
//!
//! The `cluster` command of this package starts and ends clusters; tests find a running one with [`Cluster::from_env`].
//! All programs come from the Go modules pinned in `tests/harness/cluster/tools` and live, like every cluster's run
//! directory, in a cache outside the checkout (see [`cache`]).
//!
//! One supervisor process per cluster is the parent of all its components. The kernel kills the components when the
//! supervisor dies, and the supervisor ends when its owner does, so that no way of dying leaves a cluster behind.

pub mod audit;
pub mod cache;
mod components;
mod control;
mod fake;
mod handle;
pub mod images;
pub mod lifecycle;
mod lock;
mod node;
mod node_conf;
mod node_init;
pub mod oci;
mod owner;
mod packages;
mod pki;
mod plane;
mod process;
mod programs;
mod remains;
mod report;
mod state;
mod supervisor;

use std::fmt;
use std::str::FromStr;

use anyhow::bail;

pub use handle::Cluster;
pub use node_init::node_init;
pub use packages::ensure as ensure_packages;
pub use process::launch;
pub use programs::{PROGRAMS, ensure as build};
pub use state::{Phase, State};
pub use supervisor::{Spec, supervise};

/// Address of the host as the node profile's pods see it; the API server listens here too.
pub const HOST_ADDRESS: &str = "10.200.0.1";
/// Address of the real node.
pub const NODE_ADDRESS: &str = "10.200.0.2";
/// Pods of the real node get their addresses from here.
pub const POD_RANGE: &str = "10.201.0.0/24";
/// Services get their cluster addresses from here, in both profiles: benches make thousands.
pub const SERVICE_RANGE: &str = "10.202.0.0/16";
/// The API server's own Service address.
pub const API_SERVICE_ADDRESS: &str = "10.202.0.1";
/// Cluster DNS of the node profile; the host can ask it too.
pub const DNS_ADDRESS: &str = "10.202.0.10";

/// What a cluster consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Control plane and kwok: nodes and pods change state but run nothing. No root, loopback only, several at a time.
    Fake,
    /// Control plane and one real node with cluster DNS. Root and Linux; one at a time on a machine.
    Node,
}

impl Profile {
    /// The name used on the command line; also the default name of a cluster of this profile.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fake => "fake",
            Self::Node => "node",
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Profile {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "fake" => Ok(Self::Fake),
            "node" => Ok(Self::Node),
            other => bail!("unknown profile `{other}`: use `fake` or `node`"),
        }
    }
}
