//! What changed since? Watches: past changes from the history, then new ones as they happen, with bookmarks,
//! time limits, cuts and the plan for lost and late events.

use super::{
    Shared,
    error::ApiError,
    faults::{WatchEventInfo, WatchFault},
    list::{selector, shown, version},
    route::{Query, is_true},
    selector::Selector,
    store::{Change, State, Stored, Table},
};
use hyper::body::Bytes;
use serde_json::{Value, json};
use std::{collections::VecDeque, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep_until};

const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// The real server ends watches without a limit of their own after 30 to 60 minutes.
const LONGEST: Duration = Duration::from_secs(45 * 60);
/// How many changes are taken from the history at a time.
const BATCH: usize = 256;

/// One open watch.
pub(super) struct Watch {
    shared: Arc<Shared>,
    table: usize,
    namespace: String,
    selector: Selector,
    partial: bool,
    user: String,
    /// Everything up to this version was looked at.
    cursor: u64,
    cuts: u64,
    ends: Instant,
    bookmark: Option<Instant>,
    ready: Vec<u8>,
    waiting: VecDeque<(Instant, Bytes)>,
    over: bool,
}

enum Step {
    Wait(Instant),
    End,
    Reset,
}

impl Watch {
    /// Opens a watch as the query asks.
    pub(super) fn open(
        shared: &Arc<Shared>,
        state: &State,
        table: usize,
        namespace: &str,
        query: &Query,
        partial: bool,
        user: &str,
    ) -> Result<Self, ApiError> {
        let selector = selector(state, table, query)?;
        let asked = version(query)?;
        let initial = is_true(query, "sendInitialEvents");
        if initial && query.get("resourceVersionMatch").is_none_or(|m| m != "NotOlderThan") {
            return Err(ApiError::bad_request(
                "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            ));
        }
        let seconds = query.get("timeoutSeconds").and_then(|s| s.parse().ok()).filter(|s| *s > 0);
        let now = Instant::now();
        let bookmarks = is_true(query, "allowWatchBookmarks");
        let mut watch = Self {
            shared: shared.clone(),
            table,
            namespace: namespace.to_owned(),
            selector,
            partial,
            user: user.to_owned(),
            cursor: asked.unwrap_or(0),
            cuts: state.tables[table].cuts,
            ends: now + seconds.map_or(LONGEST, Duration::from_secs),
            bookmark: bookmarks.then(|| now + BOOKMARK_EVERY),
            ready: Vec::new(),
            waiting: VecDeque::new(),
            over: false,
        };
        let table = &state.tables[table];
        if initial || matches!(asked, None | Some(0)) {
            for (_, object) in
                Table::range(&table.objects, namespace, None).filter(|(_, o)| watch.selector.matches(&o.value))
            {
                let line = line("ADDED", &shown(object, partial));
                watch.ready.extend_from_slice(&line);
            }
            watch.cursor = state.rv;
            if initial && bookmarks {
                let line = watch.bookmark_line(table, true);
                watch.ready.extend_from_slice(&line);
            }
        }
        Ok(watch)
    }

    /// The next piece of the response, `None` at its end.
    pub(super) async fn next(mut self) -> Option<(Result<Bytes, std::io::Error>, Self)> {
        loop {
            if !self.ready.is_empty() {
                let piece = Bytes::from(std::mem::take(&mut self.ready));
                return Some((Ok(piece), self));
            }
            if self.over {
                return None;
            }
            let notify = self.shared.lock().tables[self.table].notify.clone();
            let notified = notify.notified();
            tokio::pin!(notified);
            // Registered before looking, so that a change in between is not missed.
            notified.as_mut().enable();
            match self.look() {
                Step::End => self.over = true,
                Step::Reset => {
                    self.over = true;
                    let broken = std::io::Error::new(
                        std::io::ErrorKind::ConnectionReset,
                        "connection reset by the simulated server",
                    );
                    return Some((Err(broken), self));
                }
                Step::Wait(_) if !self.ready.is_empty() => {}
                Step::Wait(until) => tokio::select! {
                    biased;
                    () = &mut notified => {}
                    () = sleep_until(until) => {}
                },
            }
        }
    }

    fn look(&mut self) -> Step {
        let now = Instant::now();
        let mut taken = Vec::new();
        {
            let shared = self.shared.clone();
            let state = shared.lock();
            let table = &state.tables[self.table];
            if table.cuts > self.cuts {
                return if table.cut_was_reset { Step::Reset } else { Step::End };
            }
            if table.gone {
                return Step::End;
            }
            if self.waiting.is_empty() {
                if self.cursor < table.compacted {
                    let error =
                        ApiError::gone(format!("too old resource version: {} ({})", self.cursor, table.compacted));
                    self.ready.extend_from_slice(&line("ERROR", &Bytes::from(error.body().to_string())));
                    self.over = true;
                    return Step::Wait(now);
                }
                let mut whole = true;
                for change in table.since(self.cursor) {
                    if taken.len() == BATCH {
                        whole = false;
                        break;
                    }
                    self.cursor = change.rv;
                    if let Some(event) = self.event(change) {
                        taken.push((change.at, event));
                    }
                }
                if whole {
                    self.cursor = self.cursor.max(state.rv);
                }
            }
        }
        let kind = self.kind();
        for (at, (event, object)) in taken {
            match self.fate(&kind, event, &object) {
                WatchFault::Deliver => self.waiting.push_back((at, line(event, &shown(&object, self.partial)))),
                WatchFault::Delay(by) => self.waiting.push_back((at + by, line(event, &shown(&object, self.partial)))),
                WatchFault::Drop => {}
            }
        }
        while self.waiting.front().is_some_and(|(due, _)| *due <= now) {
            if let Some((_, line)) = self.waiting.pop_front() {
                self.ready.extend_from_slice(&line);
            }
        }
        self.bookmark_if_due(now);
        if now >= self.ends {
            return Step::End;
        }
        let mut until = self.ends;
        for at in self.waiting.front().map(|(due, _)| *due).into_iter().chain(self.bookmark) {
            until = until.min(at);
        }
        Step::Wait(until)
    }

    fn bookmark_if_due(&mut self, now: Instant) {
        // While events are held back, a bookmark would tell the caller to skip them.
        if let Some(at) = self.bookmark
            && (now >= at || now >= self.ends)
        {
            self.bookmark = Some(now + BOOKMARK_EVERY);
            if self.waiting.is_empty() {
                let shared = self.shared.clone();
                let state = shared.lock();
                let line = self.bookmark_line(&state.tables[self.table], false);
                self.ready.extend_from_slice(&line);
            }
        }
    }

    fn kind(&self) -> String {
        self.shared.lock().tables[self.table].info.kind.clone()
    }

    fn fate(&self, kind: &str, event: &'static str, object: &Stored) -> WatchFault {
        let info = WatchEventInfo {
            user: self.user.clone(),
            kind: kind.to_owned(),
            namespace: object.meta("namespace").to_owned(),
            name: object.meta("name").to_owned(),
            event,
            resource_version: object.rv,
        };
        self.shared.watch_fate(&info)
    }

    /// What a change means to this watch: an object may come into its selection or leave it.
    fn event(&self, change: &Change) -> Option<(&'static str, Arc<Stored>)> {
        if !self.namespace.is_empty() && change.now.meta("namespace") != self.namespace {
            return None;
        }
        let was = change.old.as_ref().filter(|old| self.selector.matches(&old.value));
        let is = !change.deleted && self.selector.matches(&change.now.value);
        match (was, is) {
            (Some(_), true) => Some(("MODIFIED", change.now.clone())),
            (None, true) => Some(("ADDED", change.now.clone())),
            (Some(_), false) if change.deleted => Some(("DELETED", change.now.clone())),
            (Some(old), false) => {
                let mut value = old.value.clone();
                value["metadata"]["resourceVersion"] = change.rv.to_string().into();
                Some(("DELETED", Arc::new(Stored::new(change.rv, value, old.managers.clone()))))
            }
            (None, false) => None,
        }
    }

    fn bookmark_line(&self, table: &Table, initial_end: bool) -> Bytes {
        let mut object: Value = json!({"metadata": {"resourceVersion": self.cursor.to_string()}});
        if self.partial {
            object["kind"] = "PartialObjectMetadata".into();
            object["apiVersion"] = "meta.k8s.io/v1".into();
        } else {
            object["kind"] = table.info.kind.as_str().into();
            object["apiVersion"] = table.info.api_version().into();
        }
        if initial_end {
            object["metadata"]["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        line("BOOKMARK", &Bytes::from(object.to_string()))
    }
}

fn line(event: &str, object: &Bytes) -> Bytes {
    let mut text = Vec::with_capacity(object.len() + 40);
    text.extend_from_slice(br#"{"type":""#);
    text.extend_from_slice(event.as_bytes());
    text.extend_from_slice(br#"","object":"#);
    text.extend_from_slice(object);
    text.extend_from_slice(b"}\n");
    Bytes::from(text)
}
