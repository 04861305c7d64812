//! What the API server was asked for, by whom.

use std::{path::PathBuf, time::Duration};

use harness::cluster::audit::{Event, ObjectRef};
use jiff::Timestamp;

use super::{stage::Stage, until};

/// One answered request for an object or a kind.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// Who asked.
    pub(crate) user: String,
    /// get, list, watch, create, update, patch, delete.
    pub(crate) verb: String,
    /// Group of the kind; empty for the core group.
    pub(crate) group: String,
    /// Plural, with `/status` and the like.
    pub(crate) resource: String,
    /// Namespace; empty for all.
    pub(crate) namespace: String,
    /// Name; empty for lists.
    pub(crate) name: String,
    /// HTTP status of the answer.
    pub(crate) code: u16,
    /// When the request came in.
    pub(crate) at: Timestamp,
    /// When it was answered.
    pub(crate) answered: Timestamp,
}

impl Asked {
    fn of(event: &Event) -> Option<Self> {
        let object: &ObjectRef = event.object_ref.as_ref().filter(|o| !o.resource.is_empty())?;
        let resource = if object.subresource.is_empty() {
            object.resource.clone()
        } else {
            format!("{}/{}", object.resource, object.subresource)
        };
        Some(Self {
            user: event.username().to_owned(),
            verb: event.verb.clone(),
            group: object.api_group.clone(),
            resource,
            namespace: object.namespace.clone(),
            name: object.name.clone(),
            code: event.code(),
            at: event.request_received_timestamp.parse().unwrap(),
            answered: event.stage_timestamp.parse().unwrap(),
        })
    }

    /// Whether it could change something.
    pub(crate) fn is_write(&self) -> bool {
        matches!(self.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection")
    }

    /// Whether it was done.
    pub(crate) fn is_done(&self) -> bool {
        (200..300).contains(&self.code)
    }

    /// Whether it is an event told to people, which is no part of the work.
    pub(crate) fn is_note(&self) -> bool {
        self.resource == "events"
    }
}

/// All requests that were answered before this call, in the order of the log.
pub(crate) async fn asked(stage: &Stage) -> Vec<Asked> {
    let mark = format!("/version?mark={}-{}", std::process::id(), stage.next_number());
    stage.kubectl(&["get", "--raw", &mark]);
    let log: PathBuf = stage.cluster.audit_log();
    let events = until(&format!("{mark} is in {}", log.display()), Duration::from_secs(20), async || {
        stage.cluster.audit().ok().filter(|events| events.iter().any(|e| e.uri == mark))
    })
    .await;
    events.iter().filter_map(Asked::of).collect()
}
