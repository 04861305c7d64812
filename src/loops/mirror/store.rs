//! What a mirror asks of a store, and why it may not get it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    future::Future,
};

use crate::core::registry::{Holder, Item, Told};

/// Why a mirror does not follow the registry. A closed set: nothing of what a server says is ever told on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection, or one that broke.
    Unreachable,
    /// No answer in time.
    TimedOut,
    /// The certificate is not one that the certificates of authorities vouch for, or no TLS is spoken.
    TlsFailed,
    /// The user or the password is wrong, or none was given.
    LoginRefused,
    /// The user must not use a command.
    Forbidden,
    /// The server only reads: a replica.
    ReadOnly,
    /// The server has no memory left.
    Full,
    /// The server is loading its data, or is busy with a script.
    Busy,
    /// The server answers what it should not.
    Unexpected,
    /// A file with the password or with certificates cannot be read.
    FileUnreadable,
    /// The mark of ownership went away or became another one: somebody emptied the store, or it began anew.
    Lost,
    /// A later term of this installation writes into the store.
    Superseded,
    /// Another installation writes into the store under this prefix.
    OwnedByOther,
    /// Something that is not medley's lies where the mark of ownership should be.
    Foreign,
    /// The term of this replica is over, or about to be.
    NotLeading,
}

impl Failure {
    /// The word for it, as in conditions.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "Unreachable",
            Self::TimedOut => "TimedOut",
            Self::TlsFailed => "TlsFailed",
            Self::LoginRefused => "LoginRefused",
            Self::Forbidden => "Forbidden",
            Self::ReadOnly => "ReadOnly",
            Self::Full => "Full",
            Self::Busy => "Busy",
            Self::Unexpected => "Unexpected",
            Self::FileUnreadable => "FileUnreadable",
            Self::Lost => "Lost",
            Self::Superseded => "Superseded",
            Self::OwnedByOther => "OwnedByOther",
            Self::Foreign => "Foreign",
            Self::NotLeading => "NotLeading",
        }
    }

    /// What it means and what to do.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Unreachable => {
                "no connection: look whether the server runs, and whether network policies let the operator reach it"
            }
            Self::TimedOut => "no answer in time: look at the server's load, and at the network between",
            Self::TlsFailed => "TLS failed: --redis-ca-file must hold the authority of the server's certificate",
            Self::LoginRefused => "the login was refused: look at the user of --redis-url and at --redis-password-file",
            Self::Forbidden => "the user must not use a command that the mirror needs: docs/registry.md lists them",
            Self::ReadOnly => "the server only reads: name the primary, not a replica",
            Self::Full => "the server has no memory left: raise its limit",
            Self::Busy => "the server is loading or busy",
            Self::Unexpected => {
                "the server answers what it should not: look whether the address is that of the right one"
            }
            Self::FileUnreadable => "a file with the password or with certificates cannot be read",
            Self::Lost => "the mark of ownership went away: the store was emptied or began anew",
            Self::Superseded => "a later leader writes into the store",
            Self::OwnedByOther => {
                "another installation writes under this prefix: give each its own; after its Lease was deleted, this ends with the mark's expiry"
            }
            Self::Foreign => {
                "something that is not medley's lies where the mark of ownership should be: choose another prefix"
            }
            Self::NotLeading => "this replica no longer leads",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.advice())
    }
}

/// What became of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Done {
    /// Entries whose content changed.
    pub written: u64,
    /// Those whose places something foreign takes.
    pub foreign: Vec<Item>,
    /// Those that somebody else wrote at the same time: they are to be looked at again.
    pub again: Vec<Item>,
    /// Those that the server has no room for.
    pub refused: Vec<Item>,
}

/// What there should be of some services and answers; `None` for one that is gone.
pub(super) type Batch = [(Item, Option<Told>)];

/// A server that can be connected to.
pub(super) trait Server: Send + Sync + 'static {
    /// The store behind a connection.
    type Store: Store;

    /// Its name in logs and metrics.
    const NAME: &'static str;

    /// Connects for a holder, and marks nothing yet. The caller bounds the time of this and of all that follows.
    fn connect(&self, holder: &Holder) -> impl Future<Output = Result<Self::Store, Failure>> + Send;
}

/// A store behind a connection. After a failure, or a future that was dropped, nothing more is asked of it: the connection may be in the
/// middle of an answer.
pub(super) trait Store: Send {
    /// Marks the store as the holder's and renews the mark's expiry.
    fn claim(&mut self) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Whether the mark is still the holder's.
    fn check(&mut self) -> impl Future<Output = Result<(), Failure>> + Send;

    /// What the store holds, as far as it can tell.
    fn known(&mut self) -> impl Future<Output = Result<Vec<Item>, Failure>> + Send;

    /// Makes these entries what they should be; with `renew` their expiry begins anew also where nothing changes.
    fn put(&mut self, batch: &Batch, renew: bool) -> impl Future<Output = Result<Done, Failure>> + Send;

    /// Makes all sets what they should be, and renews their expiry; how many changed.
    fn index(&mut self, sets: &BTreeMap<String, BTreeSet<String>>)
    -> impl Future<Output = Result<u64, Failure>> + Send;
}
