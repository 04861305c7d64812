//! Where something stands in a file.

use serde_json::{Map, Value};

/// Line and column, both from 1; columns count characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

/// A value with the place of each of its parts.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) content: Content,
}

/// What a node holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Content {
    Scalar(Value),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One entry of a mapping.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) key: String,
    /// Where the key stands.
    pub(super) place: Place,
    pub(super) value: Node,
}

impl Node {
    /// As JSON; of a key given twice the first counts.
    pub(super) fn value(&self) -> Value {
        match &self.content {
            Content::Scalar(value) => value.clone(),
            Content::List(items) => items.iter().map(Self::value).collect(),
            Content::Map(entries) => {
                let mut map = Map::new();
                for entry in entries {
                    map.entry(entry.key.clone()).or_insert_with(|| entry.value.value());
                }
                Value::Object(map)
            }
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<&Entry> {
        match &self.content {
            Content::Map(entries) => entries.iter().find(|e| e.key == key),
            _ => None,
        }
    }

    /// Where a field stands, such as `spec.steps[2].when`: a scalar itself, the key of anything larger. A field that is not
    /// there is at the nearest part around it that is.
    pub(super) fn find(&self, path: &str) -> Place {
        self.locate(path, self.place, false)
    }

    /// As `find`, but always the key where there is one.
    pub(super) fn find_key(&self, path: &str) -> Place {
        self.locate(path, self.place, true)
    }

    fn locate(&self, path: &str, own: Place, key: bool) -> Place {
        let rest = path.trim_start_matches('.');
        match &self.content {
            Content::Scalar(value) => {
                // an empty value has no place of its own
                if key || value.is_null() { own } else { self.place }
            }
            Content::Map(entries) => {
                // keys may hold dots and brackets themselves, so the longest that fits is meant
                let fits = |e: &&Entry| {
                    let bracket = rest.strip_prefix('[').and_then(|r| r.strip_prefix(e.key.as_str()));
                    let plain = rest.strip_prefix(e.key.as_str()).filter(|r| r.is_empty() || r.starts_with(['.', '[']));
                    bracket.and_then(|r| r.strip_prefix(']')).or(plain).is_some()
                };
                match entries.iter().filter(fits).max_by_key(|e| e.key.len()) {
                    Some(entry) => {
                        let bracket = rest.strip_prefix('[').filter(|r| r.starts_with(entry.key.as_str()));
                        let skip = entry.key.len() + if bracket.is_some() { 2 } else { 0 };
                        entry.value.locate(&rest[skip..], entry.place, key)
                    }
                    None => own,
                }
            }
            Content::List(items) => {
                let number = rest.strip_prefix('[').and_then(|r| r.split_once(']'));
                let item = number.and_then(|(n, after)| Some((items.get(n.parse::<usize>().ok()?)?, after)));
                item.map_or(own, |(node, after)| node.locate(after, node.place, key))
            }
        }
    }
}
