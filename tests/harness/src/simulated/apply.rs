//! What does a write change, and who owns it afterwards? Server-side apply and the bookkeeping of `managedFields`.

use super::{fields::Fields, shape::Shape};
use medley_schema::key_step;
use serde_json::{Map, Value, json};

/// One entry of `managedFields`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Manager {
    pub(super) name: String,
    /// `Apply` or `Update`.
    pub(super) applies: bool,
    pub(super) api_version: String,
    pub(super) subresource: String,
    pub(super) time: String,
    pub(super) fields: Fields,
}

impl Manager {
    fn same_as(&self, other: &Manager) -> bool {
        self.name == other.name
            && self.applies == other.applies
            && self.api_version == other.api_version
            && self.subresource == other.subresource
    }

    fn to_json(&self) -> Value {
        let mut entry = json!({
            "manager": self.name, "operation": if self.applies { "Apply" } else { "Update" }, "apiVersion": self.api_version,
            "time": self.time, "fieldsType": "FieldsV1", "fieldsV1": self.fields.to_json(),
        });
        if !self.subresource.is_empty() {
            entry["subresource"] = self.subresource.as_str().into();
        }
        entry
    }

    /// As conflict messages name an owner.
    fn described(&self) -> String {
        let name = Value::from(self.name.as_str());
        let sub = if self.subresource.is_empty() {
            String::new()
        } else {
            format!(" with subresource {}", Value::from(self.subresource.as_str()))
        };
        if self.applies { format!("{name}{sub}") } else { format!("{name}{sub} using {}", self.api_version) }
    }
}

/// `metadata.managedFields`, applies before updates, oldest first, as the real server sorts them.
pub(super) fn managed_fields(managers: &[Manager]) -> Value {
    let mut sorted: Vec<&Manager> = managers.iter().collect();
    sorted.sort_by(|a, b| {
        b.applies
            .cmp(&a.applies)
            .then_with(|| (&a.time, &a.name, &a.subresource).cmp(&(&b.time, &b.name, &b.subresource)))
    });
    sorted.into_iter().map(Manager::to_json).collect()
}

/// What differs between two versions of an object.
#[derive(Debug, Default)]
struct Changes {
    added: Fields,
    modified: Fields,
    removed: Fields,
}

fn compare(old: &Value, new: &Value, shape: &Shape) -> Changes {
    let mut changes = Changes::default();
    let (added, modified, removed) = walk(Some(old), Some(new), shape);
    changes.added = added;
    changes.modified = modified;
    changes.removed = removed;
    changes
}

fn walk(old: Option<&Value>, new: Option<&Value>, shape: &Shape) -> (Fields, Fields, Fields) {
    let none = Fields::default;
    match (old, new) {
        (None, None) => (none(), none(), none()),
        (None, Some(new)) => (Fields::of_added(new, shape), none(), none()),
        (Some(old), None) => (none(), none(), Fields::of_added(old, shape)),
        (Some(old), Some(new)) if old == new => (none(), none(), none()),
        (Some(Value::Object(old)), Some(Value::Object(new))) if *shape != Shape::Atomic => {
            let mut out = (none(), none(), none());
            for name in old.keys().chain(new.keys().filter(|name| !old.contains_key(*name))) {
                put_all(&mut out, &format!("f:{name}"), walk(old.get(name), new.get(name), shape.field(name)));
            }
            out
        }
        (Some(Value::Array(old)), Some(Value::Array(new))) if matches!(shape, Shape::Keyed { .. } | Shape::Set) => {
            let index = |items: &[Value]| -> Vec<(String, Value)> {
                items.iter().map(|item| (step_of(item, shape), item.clone())).collect()
            };
            let (old, new) = (index(old), index(new));
            let item_shape = match shape {
                Shape::Keyed { item, .. } => item,
                _ => &Shape::Atomic,
            };
            let by_step: std::collections::HashMap<&str, &Value> =
                new.iter().map(|(step, item)| (step.as_str(), item)).collect();
            let had: std::collections::HashSet<&str> = old.iter().map(|(step, _)| step.as_str()).collect();
            let mut out = (none(), none(), none());
            for (step, item) in &old {
                let mut found = walk(Some(item), by_step.get(step.as_str()).copied(), item_shape);
                found.2.here |= !by_step.contains_key(step.as_str());
                put_all(&mut out, step, found);
            }
            for (step, item) in new.iter().filter(|(step, _)| !had.contains(step.as_str())) {
                let mut found = walk(None, Some(item), item_shape);
                found.0.here = true;
                put_all(&mut out, step, found);
            }
            out
        }
        (Some(old), Some(new)) => {
            if shape.is_leaf(old) && shape.is_leaf(new) {
                (none(), Fields::leaf(), none())
            } else {
                (Fields::of_added(new, shape), none(), Fields::of_added(old, shape))
            }
        }
    }
}

fn put_all(out: &mut (Fields, Fields, Fields), step: &str, found: (Fields, Fields, Fields)) {
    out.0.put(step.to_owned(), found.0);
    out.1.put(step.to_owned(), found.1);
    out.2.put(step.to_owned(), found.2);
}

fn step_of(item: &Value, shape: &Shape) -> String {
    match shape {
        Shape::Keyed { keys, .. } => key_step(item, keys),
        _ => format!("v:{item}"),
    }
}

/// Fields that nobody owns.
fn without_system_fields(mut fields: Fields) -> Fields {
    fields.strip(&["apiVersion"]);
    fields.strip(&["kind"]);
    for name in [
        "name",
        "namespace",
        "creationTimestamp",
        "selfLink",
        "uid",
        "generation",
        "managedFields",
        "resourceVersion",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ] {
        fields.strip(&["metadata", name]);
    }
    if let Some(metadata) = fields.below.get_mut("f:metadata") {
        metadata.here = false;
        if metadata.below.is_empty() {
            fields.below.remove("f:metadata");
        }
    }
    fields
}

/// Who writes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Author<'a> {
    pub(super) name: &'a str,
    pub(super) api_version: &'a str,
    pub(super) subresource: &'a str,
    pub(super) now: &'a str,
}

impl Author<'_> {
    fn entry(&self, applies: bool) -> Manager {
        Manager {
            name: self.name.to_owned(),
            applies,
            api_version: self.api_version.to_owned(),
            subresource: self.subresource.to_owned(),
            time: self.now.to_owned(),
            fields: Fields::default(),
        }
    }
}

/// Ownership after a plain write (create, replace, merge or JSON patch): what it changed now belongs to the author.
pub(super) fn after_update(
    old: &Value,
    new: &Value,
    managers: &[Manager],
    shape: &Shape,
    author: Author<'_>,
) -> Vec<Manager> {
    let changes = compare(old, new, shape);
    let mut touched = changes.added;
    touched.add(&changes.modified);
    let touched = without_system_fields(touched);
    let removed = without_system_fields(changes.removed);
    if touched.is_empty() && removed.is_empty() {
        return managers.to_vec();
    }
    let mut own = author.entry(false);
    let mut out = Vec::with_capacity(managers.len() + 1);
    for manager in managers {
        if manager.same_as(&own) {
            own.fields = manager.fields.clone();
            own.time.clone_from(&manager.time);
            continue;
        }
        out.push(relieved(manager, &touched, &removed, author.now));
    }
    let mut fields = own.fields.minus(&removed);
    fields.add(&touched);
    if fields != own.fields {
        own.time = author.now.to_owned();
    }
    own.fields = fields;
    out.push(own);
    out.retain(|manager| !manager.fields.is_empty());
    out
}

fn relieved(manager: &Manager, taken: &Fields, removed: &Fields, now: &str) -> Manager {
    let mut manager = manager.clone();
    let fields = manager.fields.minus(taken).minus(removed);
    if fields != manager.fields {
        manager.fields = fields;
        manager.time = now.to_owned();
    }
    manager
}

/// Fields that another manager owns and that a server-side apply wants to change: (owner, path).
pub(super) type Conflicts = Vec<(String, String)>;

/// Server-side apply: the new object and the owners after it.
///
/// # Errors
/// The conflicts, unless `force`.
pub(super) fn apply(
    live: &Value,
    config: &Value,
    managers: &[Manager],
    shape: &Shape,
    author: Author<'_>,
    force: bool,
) -> Result<(Value, Vec<Manager>), Conflicts> {
    let mut own = author.entry(true);
    own.fields = without_system_fields(Fields::of(config, shape));
    let last = managers.iter().find(|manager| manager.same_as(&own));
    if let Some(last) = last
        && last.fields == own.fields
    {
        own.time.clone_from(&last.time);
    }
    let mut merged = merge(live, config, shape);
    if let Some(last) = last {
        let mut kept = own.fields.clone();
        for manager in managers.iter().filter(|manager| !manager.same_as(&own)) {
            kept.add(&manager.fields);
        }
        drop_disowned(&mut merged, &last.fields, &kept, shape);
    }
    let changes = compare(live, &merged, shape);
    let mut touched = changes.added;
    touched.add(&changes.modified);
    let removed = changes.removed;
    let others: Vec<&Manager> = managers.iter().filter(|manager| !manager.same_as(&own)).collect();
    if !force {
        let mut conflicts: Conflicts = Vec::new();
        for manager in &others {
            let contested = manager.fields.common(&touched);
            conflicts.extend(contested.paths().into_iter().map(|path| (manager.described(), path)));
        }
        if !conflicts.is_empty() {
            conflicts.sort();
            return Err(conflicts);
        }
    }
    let mut out: Vec<Manager> =
        others.into_iter().map(|manager| relieved(manager, &touched, &removed, author.now)).collect();
    out.push(own);
    out.retain(|manager| !manager.fields.is_empty());
    Ok((merged, out))
}

/// `config` laid over `live`.
fn merge(live: &Value, config: &Value, shape: &Shape) -> Value {
    match (live, config) {
        (Value::Object(live), Value::Object(config)) if *shape != Shape::Atomic => {
            let mut out = live.clone();
            for (name, value) in config {
                let merged = match live.get(name) {
                    Some(old) => merge(old, value, shape.field(name)),
                    None => value.clone(),
                };
                out.insert(name.clone(), merged);
            }
            Value::Object(out)
        }
        (Value::Array(live), Value::Array(config)) if matches!(shape, Shape::Keyed { .. } | Shape::Set) => {
            merge_lists(live, config, shape)
        }
        _ => config.clone(),
    }
}

/// Keeps the order of `config`, with the items that only `live` has where they stood.
fn merge_lists(live: &[Value], config: &[Value], shape: &Shape) -> Value {
    let steps: Vec<String> = config.iter().map(|item| step_of(item, shape)).collect();
    let position: std::collections::HashMap<&str, usize> =
        steps.iter().enumerate().map(|(i, step)| (step.as_str(), i)).collect();
    let live_steps: Vec<String> = live.iter().map(|item| step_of(item, shape)).collect();
    let existing: std::collections::HashMap<&str, &Value> = live_steps.iter().map(String::as_str).zip(live).collect();
    let merged = |i: usize| match (existing.get(steps[i].as_str()), shape) {
        (Some(old), Shape::Keyed { item, .. }) => merge(old, &config[i], item),
        _ => config[i].clone(),
    };
    let mut out = Vec::with_capacity(live.len() + config.len());
    let mut done = 0;
    for (step, item) in live_steps.iter().zip(live) {
        match position.get(step.as_str()) {
            None => out.push(item.clone()),
            Some(&at) => {
                while done <= at {
                    out.push(merged(done));
                    done += 1;
                }
            }
        }
    }
    out.extend((done..config.len()).map(merged));
    Value::Array(out)
}

/// Removes what `gone` names, except what somebody in `kept` still owns, and the containers this leaves empty.
fn drop_disowned(value: &mut Value, gone: &Fields, kept: &Fields, shape: &Shape) {
    let nothing = Fields::default();
    for (step, sub) in &gone.below {
        let keeps = kept.below.get(step).unwrap_or(&nothing);
        match value {
            Value::Object(map) => {
                let name = &step[2..];
                let Some(child) = map.get_mut(name) else { continue };
                if sub.here && keeps.is_empty() {
                    map.remove(name);
                    continue;
                }
                drop_disowned(child, sub, keeps, shape.field(name));
                if keeps.is_empty() && is_hollow(child) {
                    map.remove(name);
                }
            }
            Value::Array(items) => {
                let Some(at) = items.iter().position(|item| step_of(item, shape) == *step) else { continue };
                if sub.here && keeps.is_empty() {
                    items.remove(at);
                } else if let Shape::Keyed { item, .. } = shape {
                    drop_disowned(&mut items[at], sub, keeps, item);
                }
            }
            _ => {}
        }
    }
}

fn is_hollow(value: &Value) -> bool {
    value.as_object().is_some_and(Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
}
