//! What is stored, in which version, and what happened lately? Objects of every kind, one counter of resource
//! versions, a bounded history for watches and consistent pages, and indices of owners.

use super::{
    apply::{Manager, managed_fields},
    clock::Clock,
    error::ApiError,
    kinds::{self, KindInfo},
    tape::Version,
};
use hyper::body::Bytes;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    ops::Bound,
    sync::{Arc, OnceLock},
};
use tokio::{
    sync::{Notify, mpsc::UnboundedSender},
    time::Instant,
};

/// One version of an object. `managedFields` are kept parsed, apart from `value`.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) rv: u64,
    pub(super) value: Value,
    pub(super) managers: Vec<Manager>,
    bytes: OnceLock<Bytes>,
}

impl Stored {
    pub(super) fn new(rv: u64, value: Value, managers: Vec<Manager>) -> Self {
        Self { rv, value, managers, bytes: OnceLock::new() }
    }

    /// The whole object, `managedFields` included.
    pub(super) fn json(&self) -> Value {
        let mut value = self.value.clone();
        if !self.managers.is_empty() {
            value["metadata"]["managedFields"] = managed_fields(&self.managers);
        }
        value
    }

    /// The whole object as JSON text, made once.
    pub(super) fn bytes(&self) -> Bytes {
        self.bytes.get_or_init(|| Bytes::from(self.json().to_string())).clone()
    }

    pub(super) fn meta(&self, field: &str) -> &str {
        self.value["metadata"][field].as_str().unwrap_or_default()
    }

    pub(super) fn is_deleting(&self) -> bool {
        self.value["metadata"].get("deletionTimestamp").is_some()
    }

    pub(super) fn finalizers(&self) -> Vec<String> {
        strings(&self.value["metadata"]["finalizers"])
    }

    /// UIDs of the owners, in the order of `ownerReferences`.
    pub(super) fn owners(&self) -> Vec<String> {
        let references = self.value["metadata"]["ownerReferences"].as_array().into_iter().flatten();
        references.filter_map(|reference| reference["uid"].as_str()).map(str::to_owned).collect()
    }
}

pub(super) fn strings(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// One step of a kind's history.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) rv: u64,
    pub(super) at: Instant,
    pub(super) key: String,
    pub(super) old: Option<Arc<Stored>>,
    /// The object after the change; for a deletion its last state, with the deletion's version.
    pub(super) now: Arc<Stored>,
    pub(super) deleted: bool,
}

/// All objects of a kind.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) info: Arc<KindInfo>,
    /// By `namespace/name`, or `name` where the kind has no namespace.
    pub(super) objects: BTreeMap<String, Arc<Stored>>,
    pub(super) history: VecDeque<Change>,
    /// Changes up to this version are forgotten.
    pub(super) compacted: u64,
    pub(super) notify: Arc<Notify>,
    /// How often all watches of this kind were ended, and whether the last time was a broken connection.
    pub(super) cuts: u64,
    pub(super) cut_was_reset: bool,
    /// The kind's definition was deleted.
    pub(super) gone: bool,
    /// Who is told of every version.
    pub(super) tapes: Vec<UnboundedSender<Version>>,
}

impl Table {
    pub(super) fn key(&self, namespace: &str, name: &str) -> String {
        if self.info.namespaced { format!("{namespace}/{name}") } else { name.to_owned() }
    }

    /// The changes after `rv`, oldest first.
    pub(super) fn since(&self, rv: u64) -> impl Iterator<Item = &Change> {
        let from = self.history.partition_point(|change| change.rv <= rv);
        self.history.range(from..)
    }

    /// The objects of a namespace (all, if empty), in order of their keys, after the key `after`.
    pub(super) fn range<'a>(
        objects: &'a BTreeMap<String, Arc<Stored>>,
        namespace: &str,
        after: Option<&str>,
    ) -> impl Iterator<Item = (&'a String, &'a Arc<Stored>)> {
        let prefix = if namespace.is_empty() { String::new() } else { format!("{namespace}/") };
        let start = match after {
            Some(after) => Bound::Excluded(after.to_owned()),
            None => Bound::Included(prefix.clone()),
        };
        objects.range::<String, _>((start, Bound::Unbounded)).take_while(move |(key, _)| key.starts_with(&prefix))
    }

    /// The objects as they were at `rv`; `None` if that is forgotten.
    pub(super) fn snapshot(&self, rv: u64) -> Option<BTreeMap<String, Arc<Stored>>> {
        if rv < self.compacted {
            return None;
        }
        let mut objects = self.objects.clone();
        for change in self.history.iter().rev().take_while(|change| change.rv > rv) {
            match &change.old {
                Some(old) => objects.insert(change.key.clone(), old.clone()),
                None => objects.remove(&change.key),
            };
        }
        Some(objects)
    }
}

/// Where an object is.
pub(super) type Place = (usize, String);

/// Everything the server remembers.
#[derive(Debug)]
pub(super) struct State {
    pub(super) rv: u64,
    pub(super) clock: Clock,
    pub(super) tables: Vec<Table>,
    by_resource: HashMap<(String, String), usize>,
    pub(super) uids: HashMap<String, Place>,
    /// Owner's UID -> objects that name it.
    pub(super) dependents: HashMap<String, BTreeSet<Place>>,
    /// Owners that are gone and whose dependents were not yet looked at.
    pub(super) orphaned: BTreeSet<String>,
    /// Owners that wait for their dependents (`foregroundDeletion`) or for letting them go (`orphan`).
    pub(super) waiting: BTreeSet<String>,
    history_limit: usize,
    /// Writes that are no apply come to own what they change.
    pub(super) owns_updates: bool,
    made: u64,
}

impl State {
    pub(super) fn new(clock: Clock, history_limit: usize, owns_updates: bool) -> Self {
        let mut state = Self {
            // Above every version that a caller may make up as long gone.
            rv: 100,
            clock,
            tables: Vec::new(),
            by_resource: HashMap::new(),
            uids: HashMap::new(),
            dependents: HashMap::new(),
            orphaned: BTreeSet::new(),
            waiting: BTreeSet::new(),
            history_limit,
            owns_updates,
            made: 0,
        };
        for info in kinds::builtin() {
            state.serve(info.clone());
        }
        state
    }

    /// Serves a kind, or replaces the definition of one that is served.
    pub(super) fn serve(&mut self, info: Arc<KindInfo>) {
        let resource = (info.group.clone(), info.plural.clone());
        if let Some(&table) = self.by_resource.get(&resource) {
            self.tables[table].info = info;
            return;
        }
        self.by_resource.insert(resource, self.tables.len());
        self.tables.push(Table {
            info,
            objects: BTreeMap::new(),
            history: VecDeque::new(),
            compacted: self.rv,
            notify: Arc::new(Notify::new()),
            cuts: 0,
            cut_was_reset: false,
            gone: false,
            tapes: Vec::new(),
        });
    }

    /// Deletes a kind with all its objects.
    pub(super) fn stop_serving(&mut self, group: &str, plural: &str) {
        if let Some(table) = self.by_resource.remove(&(group.to_owned(), plural.to_owned())) {
            let keys: Vec<String> = self.tables[table].objects.keys().cloned().collect();
            for key in keys {
                self.remove(table, &key);
            }
            self.tables[table].gone = true;
            self.tables[table].notify.notify_waiters();
        }
    }

    pub(super) fn find(&self, group: &str, plural: &str) -> Option<usize> {
        self.by_resource.get(&(group.to_owned(), plural.to_owned())).copied()
    }

    /// The table of a resource or kind name such as `pods`, `Pod`, `workflowruns`.
    pub(super) fn find_named(&self, name: &str) -> Option<usize> {
        self.tables
            .iter()
            .position(|t| !t.gone && (t.info.plural == name || t.info.kind == name || t.info.is_resource(name)))
    }

    pub(super) fn info(&self, table: usize) -> Arc<KindInfo> {
        self.tables[table].info.clone()
    }

    pub(super) fn get(&self, table: usize, namespace: &str, name: &str) -> Result<Arc<Stored>, ApiError> {
        let table = &self.tables[table];
        table.objects.get(&table.key(namespace, name)).cloned().ok_or_else(|| ApiError::not_found(&table.info, name))
    }

    /// A UID that no other object of this server has.
    pub(super) fn new_uid(&mut self) -> String {
        self.made += 1;
        format!("{:08x}-5eed-4000-8000-{:012x}", self.made, self.made)
    }

    /// Five letters for `generateName`.
    pub(super) fn new_suffix(&mut self) -> String {
        const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
        self.made += 1;
        // A fixed odd multiplier scatters consecutive numbers over all suffixes without repeating one early.
        let mut n = self.made.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 24;
        (0..5)
            .map(|_| {
                let letter = LETTERS[usize::try_from(n % LETTERS.len() as u64).unwrap_or(0)];
                n /= LETTERS.len() as u64;
                char::from(letter)
            })
            .collect()
    }

    /// Stores a new version of an object.
    pub(super) fn put(&mut self, table: usize, key: &str, mut value: Value, managers: Vec<Manager>) -> Arc<Stored> {
        self.rv += 1;
        value["metadata"]["resourceVersion"] = self.rv.to_string().into();
        let now = Arc::new(Stored::new(self.rv, value, managers));
        let old = self.tables[table].objects.insert(key.to_owned(), now.clone());
        let place = (table, key.to_owned());
        if let Some(old) = &old {
            self.forget_owners(old, &place);
        }
        self.uids.insert(now.meta("uid").to_owned(), place.clone());
        for owner in now.owners() {
            if !self.uids.contains_key(&owner) {
                self.orphaned.insert(owner.clone());
            }
            self.dependents.entry(owner).or_default().insert(place.clone());
        }
        self.record(
            table,
            Change { rv: now.rv, at: Instant::now(), key: key.to_owned(), old, now: now.clone(), deleted: false },
        );
        now
    }

    /// Removes an object. Returns its last state, if it was there.
    pub(super) fn remove(&mut self, table: usize, key: &str) -> Option<Arc<Stored>> {
        let old = self.tables[table].objects.remove(key)?;
        self.rv += 1;
        let mut value = old.value.clone();
        value["metadata"]["resourceVersion"] = self.rv.to_string().into();
        let now = Arc::new(Stored::new(self.rv, value, old.managers.clone()));
        self.forget_owners(&old, &(table, key.to_owned()));
        let uid = old.meta("uid").to_owned();
        self.uids.remove(&uid);
        self.waiting.remove(&uid);
        if self.dependents.contains_key(&uid) {
            self.orphaned.insert(uid);
        }
        self.record(
            table,
            Change {
                rv: now.rv,
                at: Instant::now(),
                key: key.to_owned(),
                old: Some(old),
                now: now.clone(),
                deleted: true,
            },
        );
        Some(now)
    }

    fn forget_owners(&mut self, object: &Stored, place: &Place) {
        for owner in object.owners() {
            if let Some(known) = self.dependents.get_mut(&owner) {
                known.remove(place);
                if known.is_empty() {
                    self.dependents.remove(&owner);
                }
            }
        }
    }

    fn record(&mut self, table: usize, change: Change) {
        let limit = self.history_limit;
        let table = &mut self.tables[table];
        if !table.tapes.is_empty() {
            let version = Version { stored: change.now.clone(), at: self.clock.elapsed(), deleted: change.deleted };
            table.tapes.retain(|tape| tape.send(version.clone()).is_ok());
        }
        table.history.push_back(change);
        while table.history.len() > limit {
            if let Some(oldest) = table.history.pop_front() {
                table.compacted = oldest.rv;
            }
        }
        table.notify.notify_waiters();
    }

    /// Forgets all history: watches and pages that start before now get 410.
    pub(super) fn compact(&mut self) {
        let rv = self.rv;
        for table in &mut self.tables {
            table.history.clear();
            table.compacted = rv;
            table.notify.notify_waiters();
        }
    }
}
