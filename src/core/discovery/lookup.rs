//! What is known of a host name.

use std::{fmt, net::IpAddr};

/// The latest knowledge of one host name. A name that has never been looked up has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lookup {
    /// Its addresses, in order: those of the last lookup that succeeded, also while later ones fail.
    pub addresses: Vec<IpAddr>,
    /// Why the latest lookup failed; `None` when it succeeded.
    pub failed: Option<LookupFailure>,
}

/// Why a lookup failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LookupFailure {
    /// The name does not exist, or it has no address.
    NotFound,
    /// No name server answered in time.
    Timeout,
    /// The name servers answered with an error, or could not be reached.
    ServerFailure,
    /// All its addresses are loopback, link-local, multicast or unspecified ones, which no endpoint can have.
    UnusableAddress,
}

impl fmt::Display for LookupFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFound => "the name does not exist or has no address",
            Self::Timeout => "no name server answered in time",
            Self::ServerFailure => "the name servers fail",
            Self::UnusableAddress => "it has only loopback, link-local or multicast addresses",
        })
    }
}
