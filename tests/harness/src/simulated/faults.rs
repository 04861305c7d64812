//! What may go wrong, and when? The plan that decides the fate of each call and of each watch event.

use std::time::Duration;

/// One request as the fault plan and the ledger see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Number of this request since the server was built, from 1.
    pub n: u64,
    /// Number of this write since the server was built, from 1; `None` for reads and watches.
    pub write_n: Option<u64>,
    /// Who calls: the name given to `ApiServer::client_as`.
    pub user: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete` or `deletecollection`.
    pub verb: &'static str,
    /// API group, empty for the core group.
    pub group: String,
    /// Plural name, for instance `pods`; empty for discovery.
    pub resource: String,
    /// Kind, for instance `Pod`; empty if the resource is not served.
    pub kind: String,
    /// Empty for kinds without namespace and for all namespaces.
    pub namespace: String,
    /// Empty for collections; of a create, the name in its body.
    pub name: String,
    /// Empty, or for instance `status`.
    pub subresource: String,
}

impl Call {
    /// Whether the call changes something.
    #[must_use]
    pub fn is_write(&self) -> bool {
        self.write_n.is_some()
    }

    /// Whether the call is about an event, of either API group.
    #[must_use]
    pub fn is_event(&self) -> bool {
        self.resource == "events"
    }
}

/// Something a test does in the middle of a call, for instance aborting the operator's task.
/// It runs without any lock held and may use the server.
pub type Hook = Box<dyn FnOnce() + Send>;

/// The fate of one call.
#[derive(Default)]
pub enum Fault {
    /// It works.
    #[default]
    None,
    /// Refused before it has an effect.
    Respond {
        /// HTTP status code, for instance 429.
        code: u16,
        /// Reason of the Status body, for instance `TooManyRequests`.
        reason: String,
        /// `Retry-After`, rounded up to whole seconds.
        retry_after: Option<Duration>,
    },
    /// The connection breaks before the call has an effect.
    DropBefore,
    /// The call takes effect, then the connection breaks.
    LoseReplyAfterCommit,
    /// The call takes effect this much later.
    Delay(Duration),
    /// The call takes effect this much later, also when its caller no longer waits: it is on its way.
    Late(Duration),
    /// A list answers what there was so many versions ago, as far as that is remembered; other calls work.
    ListOld(u64),
    /// The call takes effect at once, its reply arrives this much later.
    DelayReply(Duration),
    /// The hook runs, then the call works.
    Before(Hook),
    /// The call takes effect, the hook runs, then the reply arrives.
    After(Hook),
    /// The hook runs; the call has no effect and never gets a reply: the caller died before sending it.
    CrashBefore(Hook),
    /// The call takes effect, the hook runs, and no reply ever comes: the caller died after sending it.
    CrashAfter(Hook),
}

impl std::fmt::Debug for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => write!(f, "None"),
            Self::Respond { code, reason, retry_after } => write!(f, "Respond({code} {reason}, {retry_after:?})"),
            Self::DropBefore => write!(f, "DropBefore"),
            Self::LoseReplyAfterCommit => write!(f, "LoseReplyAfterCommit"),
            Self::Delay(d) => write!(f, "Delay({d:?})"),
            Self::Late(d) => write!(f, "Late({d:?})"),
            Self::ListOld(versions) => write!(f, "ListOld({versions})"),
            Self::DelayReply(d) => write!(f, "DelayReply({d:?})"),
            Self::Before(_) => write!(f, "Before(…)"),
            Self::After(_) => write!(f, "After(…)"),
            Self::CrashBefore(_) => write!(f, "CrashBefore(…)"),
            Self::CrashAfter(_) => write!(f, "CrashAfter(…)"),
        }
    }
}

/// One event on its way to one watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchEventInfo {
    /// Who watches.
    pub user: String,
    /// Kind, for instance `Pod`.
    pub kind: String,
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// `ADDED`, `MODIFIED` or `DELETED`.
    pub event: &'static str,
    /// Version that the event carries.
    pub resource_version: u64,
}

/// The fate of one watch event. Bookmarks and a watch's initial list always arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WatchFault {
    /// It arrives at once.
    #[default]
    Deliver,
    /// It arrives this long after the change; events of the same watch behind it wait, none overtakes.
    Delay(Duration),
    /// It never arrives.
    Drop,
}

pub(super) type FaultPlan = Box<dyn FnMut(&Call) -> Fault + Send>;
pub(super) type WatchPlan = Box<dyn FnMut(&WatchEventInfo) -> WatchFault + Send>;
