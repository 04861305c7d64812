//! Which fields does a manager own? Sets of field paths, and their `FieldsV1` form.

use super::shape::Shape;
use medley_schema::key_step;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// A set of field paths as a tree. A step is written as in `FieldsV1`: `f:name`, `k:{"name":"x"}`, `v:"x"`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Fields {
    /// The path that ends here belongs to the set.
    pub(super) here: bool,
    /// Longer paths.
    pub(super) below: BTreeMap<String, Fields>,
}

impl Fields {
    pub(super) fn leaf() -> Self {
        Self { here: true, below: BTreeMap::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.here && self.below.is_empty()
    }

    pub(super) fn put(&mut self, step: String, sub: Fields) {
        if !sub.is_empty() {
            self.below.entry(step).or_default().add(&sub);
        }
    }

    /// Union in place.
    pub(super) fn add(&mut self, other: &Fields) {
        self.here |= other.here;
        for (step, sub) in &other.below {
            match self.below.get_mut(step) {
                Some(mine) => mine.add(sub),
                None => {
                    self.below.insert(step.clone(), sub.clone());
                }
            }
        }
    }

    /// The paths of `self` that are not in `other`.
    pub(super) fn minus(&self, other: &Fields) -> Fields {
        let mut left = Fields { here: self.here && !other.here, below: BTreeMap::new() };
        for (step, sub) in &self.below {
            let rest = match other.below.get(step) {
                Some(theirs) => sub.minus(theirs),
                None => sub.clone(),
            };
            if !rest.is_empty() {
                left.below.insert(step.clone(), rest);
            }
        }
        left
    }

    /// The paths that are in both.
    pub(super) fn common(&self, other: &Fields) -> Fields {
        let mut both = Fields { here: self.here && other.here, below: BTreeMap::new() };
        for (step, sub) in &self.below {
            if let Some(theirs) = other.below.get(step) {
                let shared = sub.common(theirs);
                if !shared.is_empty() {
                    both.below.insert(step.clone(), shared);
                }
            }
        }
        both
    }

    /// Drops one top-level or nested field with all below it.
    pub(super) fn strip(&mut self, path: &[&str]) {
        let Some((first, rest)) = path.split_first() else { return };
        let step = format!("f:{first}");
        if rest.is_empty() {
            self.below.remove(&step);
        } else if let Some(sub) = self.below.get_mut(&step) {
            sub.strip(rest);
            if sub.is_empty() {
                self.below.remove(&step);
            }
        }
    }

    /// Everything that a manager owns by sending this value: the leaves, and each keyed item itself.
    pub(super) fn of(value: &Value, shape: &Shape) -> Fields {
        Self::collect(value, shape, false)
    }

    /// As `of`, with containers counted too: what an update adds where nothing was before.
    pub(super) fn of_added(value: &Value, shape: &Shape) -> Fields {
        Self::collect(value, shape, true)
    }

    fn collect(value: &Value, shape: &Shape, containers: bool) -> Fields {
        if shape.is_leaf(value) {
            return Fields::leaf();
        }
        let mut set = Fields { here: containers, below: BTreeMap::new() };
        match (value, shape) {
            (Value::Object(map), _) => {
                set.here |= map.is_empty();
                for (name, child) in map {
                    set.put(format!("f:{name}"), Self::collect(child, shape.field(name), containers));
                }
            }
            (Value::Array(items), Shape::Keyed { keys, item }) => {
                set.here |= items.is_empty();
                for value in items {
                    let mut sub = Self::collect(value, item, containers);
                    sub.here = true;
                    set.put(key_step(value, keys), sub);
                }
            }
            (Value::Array(items), _) => {
                set.here |= items.is_empty();
                for value in items {
                    set.put(format!("v:{value}"), Fields::leaf());
                }
            }
            _ => set.here = true,
        }
        set
    }

    /// `FieldsV1`.
    pub(super) fn to_json(&self) -> Value {
        let mut map = Map::new();
        if self.here && !self.below.is_empty() {
            map.insert(".".to_owned(), Value::Object(Map::new()));
        }
        for (step, sub) in &self.below {
            map.insert(step.clone(), sub.to_json());
        }
        Value::Object(map)
    }

    /// The paths in the notation of conflict messages, for instance `.spec.ports[port=80,protocol="TCP"].name`.
    pub(super) fn paths(&self) -> Vec<String> {
        let mut out = Vec::new();
        self.walk("", &mut out);
        out
    }

    fn walk(&self, path: &str, out: &mut Vec<String>) {
        if self.here {
            out.push(path.to_owned());
        }
        for (step, sub) in &self.below {
            let next = match step.split_at(2) {
                ("f:", name) => format!("{path}.{name}"),
                ("v:", value) => format!("{path}[={value}]"),
                (_, key) => {
                    let parsed: Map<String, Value> = serde_json::from_str(key).unwrap_or_default();
                    let parts: Vec<String> = parsed.iter().map(|(k, v)| format!("{k}={v}")).collect();
                    format!("{path}[{}]", parts.join(","))
                }
            };
            sub.walk(&next, out);
        }
    }
}
