//! The registry in a store of hashes and sets: a hash for each service and each answer, and sets of these by what they have in common.
//! What is there and what should be there are compared as plain values; the difference is a list of commands.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    item::{Item, Kind, Told},
    record::Record,
    reply::Reply,
};
use crate::{api::vocabulary::Protocol, core::name::Key};

/// The field that marks a hash as medley's.
pub const MANAGED_BY: &str = "managedBy";
/// What that field says.
pub const MANAGER: &str = "medley.health";
/// The set of all services.
pub const SERVICES: &str = "services";
/// The set of all queries. All other sets are of services.
pub const QUERIES: &str = "queries";

/// The fields of a hash.
pub type Fields = BTreeMap<String, String>;

/// What lies at the place of a service or an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// A hash that is marked as medley's.
    Ours(Fields),
    /// Something else: it is never overwritten and never removed.
    Foreign,
}

/// What a store holds, or should hold. Members of sets are `<namespace>/<name>`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// The hash of each service and each answer.
    pub hashes: BTreeMap<Item, Held>,
    /// The members of each set; no set is empty.
    pub sets: BTreeMap<String, BTreeSet<String>>,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// This hash has these fields and no others.
    Put(Item, Fields),
    /// This hash is removed.
    Drop(Item),
    /// These are members of the set from now on.
    Add(String, BTreeSet<String>),
    /// These are no members of the set any more.
    Remove(String, BTreeSet<String>),
}

/// What a member of a set names.
#[must_use]
pub fn key_of(member: &str) -> Option<Key> {
    let (namespace, name) = member.split_once('/')?;
    Some(Key::new(namespace, name)).filter(|_| !namespace.is_empty() && !name.is_empty())
}

/// The word of the spec.
fn word(protocol: Protocol) -> String {
    serde_json::to_value(protocol).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

/// What the members of a set are.
fn kind_of(set: &str) -> Kind {
    if set == QUERIES { Kind::Query } else { Kind::Service }
}

/// The sets that something is a member of. Each kind of set of services is one field of the hash, whose words are separated by commas, so
/// that a hash tells by itself where its service is a member.
#[must_use]
pub fn sets_of(kind: Kind, fields: &Fields) -> BTreeSet<String> {
    if kind == Kind::Query {
        return BTreeSet::from([QUERIES.to_owned()]);
    }
    let words = |field: &str| fields.get(field).into_iter().flat_map(|f| f.split(',')).filter(|w| !w.is_empty());
    let mut sets = BTreeSet::from([SERVICES.to_owned()]);
    sets.extend(words("namespace").map(|w| format!("namespace:{w}")));
    sets.extend(words("protocols").map(|w| format!("protocol:{w}")));
    sets.extend(words("capabilities").map(|w| format!("capability:{w}")));
    sets
}

/// The hash of a service.
fn fields_of(record: &Record) -> Fields {
    let protocols: Vec<String> = record.protocols().into_iter().map(word).collect();
    let mut fields = Fields::from([
        (MANAGED_BY.to_owned(), MANAGER.to_owned()),
        ("namespace".to_owned(), record.namespace.clone()),
        ("name".to_owned(), record.name.clone()),
        ("ready".to_owned(), record.ready.to_string()),
        ("total".to_owned(), record.total.to_string()),
        ("generation".to_owned(), record.generation.to_string()),
        ("protocols".to_owned(), protocols.join(",")),
    ]);
    if !record.capabilities.is_empty() {
        fields.insert("capabilities".to_owned(), record.capabilities.join(","));
    }
    fields.extend(record.dns_name.clone().map(|name| ("dnsName".to_owned(), name)));
    fields.extend(record.attributes.iter().map(|(name, value)| (format!("attribute:{name}"), value.clone())));
    for interface in &record.interfaces {
        // a record holds texts and numbers only, so it can always be JSON
        fields.insert(format!("interface:{}", interface.name), serde_json::to_string(interface).unwrap_or_default());
    }
    fields
}

/// The hash of an answer.
fn answer(reply: &Reply) -> Fields {
    let mut fields = Fields::from([
        (MANAGED_BY.to_owned(), MANAGER.to_owned()),
        ("namespace".to_owned(), reply.namespace.clone()),
        ("name".to_owned(), reply.name.clone().unwrap_or_default()),
        ("current".to_owned(), reply.current.to_string()),
        ("panic".to_owned(), reply.panic.to_string()),
        ("matched".to_owned(), reply.matches.len().to_string()),
        // texts and numbers only, so it can always be JSON
        ("matches".to_owned(), serde_json::to_string(&reply.matches).unwrap_or_default()),
    ]);
    fields.extend(reply.dns_name.clone().map(|name| ("dnsName".to_owned(), name)));
    fields.extend(reply.empty.clone().map(|reason| ("empty".to_owned(), reason)));
    fields
}

impl Content {
    /// What a store should hold for these.
    #[must_use]
    pub fn of<'a>(told: impl IntoIterator<Item = &'a Told>) -> Self {
        let fields = |told: &Told| match told {
            Told::Service(record) => fields_of(record),
            Told::Answer(reply) => answer(reply),
        };
        let hashes = told.into_iter().map(|t| (t.item(), Held::Ours(fields(t)))).collect();
        Self { hashes, sets: BTreeMap::new() }.with_presumed_sets()
    }

    /// With the sets that follow from the hashes.
    #[must_use]
    pub fn with_presumed_sets(mut self) -> Self {
        self.sets.clear();
        for (item, held) in &self.hashes {
            let Held::Ours(fields) = held else { continue };
            for set in sets_of(item.kind, fields) {
                self.sets.entry(set).or_default().insert(item.key.to_string());
            }
        }
        self
    }
}

/// What makes `held` into `wanted`, for all that is medley's. What is foreign is left alone, and a service or query whose place it takes
/// is in no set.
#[must_use]
pub fn plan(held: &Content, wanted: &Content) -> Vec<Command> {
    let mut commands = Vec::new();
    let mut barred = BTreeSet::new();
    for (item, want) in &wanted.hashes {
        match (held.hashes.get(item), want) {
            (Some(Held::Foreign), _) => {
                barred.insert((item.kind, item.key.to_string()));
            }
            (there, Held::Ours(fields)) if there != Some(want) => {
                commands.push(Command::Put(item.clone(), fields.clone()));
            }
            _ => {}
        }
    }
    let gone =
        held.hashes.iter().filter(|(item, there)| matches!(there, Held::Ours(_)) && !wanted.hashes.contains_key(*item));
    commands.extend(gone.map(|(item, _)| Command::Drop(item.clone())));
    let none = BTreeSet::new();
    let names: BTreeSet<&String> = held.sets.keys().chain(wanted.sets.keys()).collect();
    for name in names {
        let there = held.sets.get(name).unwrap_or(&none);
        let kind = kind_of(name);
        let want = |member: &String| {
            wanted.sets.get(name).is_some_and(|w| w.contains(member)) && !barred.contains(&(kind, member.clone()))
        };
        let missing: BTreeSet<String> =
            wanted.sets.get(name).into_iter().flatten().filter(|m| want(m) && !there.contains(*m)).cloned().collect();
        let extra: BTreeSet<String> = there.iter().filter(|m| !want(m)).cloned().collect();
        if !missing.is_empty() {
            commands.push(Command::Add(name.clone(), missing));
        }
        if !extra.is_empty() {
            commands.push(Command::Remove(name.clone(), extra));
        }
    }
    commands
}
