//! How does a write change an object? Create, replace, patch and server-side apply, with everything the server
//! adds, refuses or ignores on the way.

use super::{
    admit::{
        check_immutable, check_name, check_namespace, check_type, check_version, desired_state_differs, first_state,
        isolate_config, judge, keep_status, only_status,
    },
    apply::{Author, Manager, after_update, apply},
    error::{ApiError, Cause},
    meta,
    store::{State, Stored},
    typed,
};
use medley_schema::Schema;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// What a write call says besides its body.
#[derive(Debug, Clone, Default)]
pub(super) struct WriteOptions {
    /// Field manager.
    pub(super) manager: String,
    pub(super) dry_run: bool,
    /// Take over fields of other managers (server-side apply).
    pub(super) force: bool,
    /// Empty, or `status`.
    pub(super) subresource: String,
}

/// The result of a write.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) object: Arc<Stored>,
    pub(super) created: bool,
    /// A new version was stored, or the object went away.
    pub(super) changed: bool,
}

/// A patch, by its content type.
#[derive(Debug)]
pub(super) enum Patch {
    Merge(Value),
    Json(json_patch::Patch),
    Apply(Value),
}

impl State {
    /// Creates an object in `namespace` (empty for kinds without).
    pub(super) fn create(
        &mut self,
        table: usize,
        namespace: &str,
        body: Value,
        options: &WriteOptions,
    ) -> Result<Written, ApiError> {
        if body["metadata"]["resourceVersion"].as_str().is_some_and(|rv| !rv.is_empty()) {
            return Err(ApiError::new(500, "", "resourceVersion should not be set on objects to be created"));
        }
        self.create_owned(table, namespace, body, options, None)
    }

    fn create_owned(
        &mut self,
        table: usize,
        namespace: &str,
        mut body: Value,
        options: &WriteOptions,
        owners: Option<Vec<Manager>>,
    ) -> Result<Written, ApiError> {
        let info = self.info(table);
        check_type(&info, &body)?;
        check_namespace(&info, &mut body, namespace)?;
        let mut metadata = meta::settled(&body["metadata"], None);
        if metadata.get("name").is_none()
            && let Some(prefix) = metadata["generateName"].as_str()
        {
            metadata["name"] = format!("{prefix}{}", self.new_suffix()).into();
        }
        let name = metadata["name"].as_str().unwrap_or_default().to_owned();
        body["metadata"] = metadata;
        first_state(&info, &mut body);
        let causes = judge(&info, &mut body, None, owners.is_some(), "");
        if !causes.is_empty() {
            return Err(ApiError::invalid(&info, &name, &causes));
        }
        let key = self.tables[table].key(namespace, &name);
        if self.tables[table].objects.contains_key(&key) {
            return Err(ApiError::already_exists(&info, &name));
        }
        let now = self.clock.stamp(0);
        let managers = owners.unwrap_or_else(|| {
            if !self.owns_updates {
                return Vec::new();
            }
            let nothing = json!({"apiVersion": body["apiVersion"], "kind": body["kind"], "metadata": {}});
            let author =
                Author { name: &options.manager, api_version: &info.api_version(), subresource: "", now: &now };
            after_update(&nothing, &body, &[], &info.shape, author)
        });
        body["metadata"]["uid"] = self.new_uid().into();
        body["metadata"]["creationTimestamp"] = now.into();
        if info.has_generation {
            body["metadata"]["generation"] = 1.into();
        }
        self.define(&info, &mut body)?;
        let object = if options.dry_run {
            Arc::new(Stored::new(self.rv, body, managers))
        } else {
            self.put(table, &key, body, managers)
        };
        Ok(Written { object, created: true, changed: !options.dry_run })
    }

    /// Replaces an object or its status.
    pub(super) fn replace(
        &mut self,
        table: usize,
        namespace: &str,
        name: &str,
        mut body: Value,
        options: &WriteOptions,
    ) -> Result<Written, ApiError> {
        let info = self.info(table);
        check_type(&info, &body)?;
        check_namespace(&info, &mut body, namespace)?;
        check_name(&body, name)?;
        let old = match self.get(table, namespace, name) {
            Ok(old) => old,
            Err(_) if info.create_on_update && options.subresource.is_empty() => {
                return self.create(table, namespace, body, options);
            }
            Err(error) => return Err(error),
        };
        let given = body["metadata"]["resourceVersion"].as_str().unwrap_or_default();
        if given.is_empty() && !info.unconditional_update {
            let cause = Cause::invalid("metadata.resourceVersion", &0.into(), "must be specified for an update");
            return Err(ApiError::invalid_resource(&info, name, &[cause]));
        }
        // A replace that names another incarnation was meant for another object: a conflict. In a patch it is a wrong field.
        if let Some(uid) = body["metadata"]["uid"].as_str()
            && !uid.is_empty()
            && uid != old.meta("uid")
        {
            let why =
                format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {}", old.meta("uid"));
            return Err(ApiError::conflict(&info, name, &why));
        }
        self.update(table, &old, body, None, options)
    }

    /// Patches an object or its status; an apply may create it.
    pub(super) fn patch(
        &mut self,
        table: usize,
        namespace: &str,
        name: &str,
        patch: Patch,
        options: &WriteOptions,
    ) -> Result<Written, ApiError> {
        let info = self.info(table);
        let config = match patch {
            Patch::Apply(config) => config,
            Patch::Merge(patch) => {
                let old = self.get(table, namespace, name)?;
                let mut new = old.value.clone();
                merge_patch(&mut new, &patch);
                return self.patched(table, &old, new, name, options);
            }
            Patch::Json(patch) => {
                let old = self.get(table, namespace, name)?;
                let mut new = old.value.clone();
                json_patch::patch(&mut new, &patch).map_err(|_| {
                    ApiError::new(422, "Invalid", "the server rejected our request due to an error in our request")
                })?;
                return self.patched(table, &old, new, name, options);
            }
        };
        check_type(&info, &config)?;
        typed::check(&config, info.schema.as_ref().map(Schema::tree))?;
        let mut config = config;
        check_namespace(&info, &mut config, namespace)?;
        if config["metadata"].get("name").is_none() {
            config["metadata"]["name"] = name.into();
        }
        check_name(&config, name)?;
        let live = self.get(table, namespace, name);
        let resource_version = config["metadata"]["resourceVersion"].clone();
        let uid = config["metadata"]["uid"].clone();
        isolate_config(&info, &mut config, &options.subresource);
        let now = self.clock.stamp(0);
        let author = Author {
            name: &options.manager,
            api_version: &info.api_version(),
            subresource: &options.subresource,
            now: &now,
        };
        match live {
            Ok(old) => {
                let (mut new, managers) = apply(&old.value, &config, &old.managers, &info.shape, author, options.force)
                    .map_err(|c| ApiError::apply_conflict(&c))?;
                for (field, given) in [("resourceVersion", resource_version), ("uid", uid)] {
                    if given.as_str().is_some_and(|g| !g.is_empty()) {
                        new["metadata"][field] = given;
                    }
                }
                self.update(table, &old, new, Some(managers), options)
            }
            Err(missing) if !options.subresource.is_empty() => Err(missing),
            Err(_) => {
                if let Some(uid) = uid.as_str() {
                    let why = format!(
                        "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
                    );
                    return Err(ApiError::conflict(&info, name, &why));
                }
                let empty = json!({"apiVersion": config["apiVersion"], "kind": config["kind"], "metadata": {}});
                let (new, managers) =
                    apply(&empty, &config, &[], &info.shape, author, true).map_err(|c| ApiError::apply_conflict(&c))?;
                self.create_owned(table, namespace, new, options, Some(managers))
            }
        }
    }

    fn patched(
        &mut self,
        table: usize,
        old: &Arc<Stored>,
        new: Value,
        name: &str,
        options: &WriteOptions,
    ) -> Result<Written, ApiError> {
        check_name(&new, name)?;
        self.update(table, old, new, None, options)
    }

    /// The common end of every change of an existing object. `owners` come from an apply.
    fn update(
        &mut self,
        table: usize,
        old: &Arc<Stored>,
        mut new: Value,
        owners: Option<Vec<Manager>>,
        options: &WriteOptions,
    ) -> Result<Written, ApiError> {
        let info = self.info(table);
        let name = old.meta("name").to_owned();
        check_version(&info, old, &new)?;
        let own_metadata = options.subresource == "status" && info.custom;
        if !own_metadata {
            check_immutable(&info, old, &new)?;
        }
        let resets_owners = new["metadata"]["managedFields"] == json!([{}]);
        let before = &old.value;
        new["metadata"] = meta::settled(&new["metadata"], Some(&before["metadata"]));
        if options.subresource == "status" {
            new = only_status(&info, before, new);
        } else if info.has_status {
            keep_status(before, &mut new);
        }
        let causes = judge(&info, &mut new, Some(before), owners.is_some(), &options.subresource);
        if !causes.is_empty() {
            return Err(ApiError::invalid(&info, &name, &causes));
        }
        if info.has_generation && desired_state_differs(&info, before, &new) {
            let generation = before["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
            new["metadata"]["generation"] = generation.into();
        }
        let managers = owners.unwrap_or_else(|| {
            let now = self.clock.stamp(0);
            let author = Author {
                name: &options.manager,
                api_version: &info.api_version(),
                subresource: &options.subresource,
                now: &now,
            };
            let known: &[Manager] = if resets_owners { &[] } else { &old.managers };
            if !self.owns_updates {
                return known.to_vec();
            }
            after_update(before, &new, known, &info.shape, author)
        });
        if new == *before && managers == old.managers {
            return Ok(Written { object: old.clone(), created: false, changed: false });
        }
        if options.dry_run {
            return Ok(Written {
                object: Arc::new(Stored::new(old.rv, new, managers)),
                created: false,
                changed: false,
            });
        }
        self.define(&info, &mut new)?;
        let key = self.tables[table].key(old.meta("namespace"), &name);
        let stored = Stored::new(old.rv, new, managers);
        if old.is_deleting()
            && stored.finalizers().is_empty()
            && stored.value["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) == 0
        {
            // The last finalizer is gone: the caller sees the object it wrote, everybody else its deletion.
            self.remove(table, &key);
            return Ok(Written { object: Arc::new(stored), created: false, changed: true });
        }
        let Stored { value, managers, .. } = stored;
        let object = self.put(table, &key, value, managers);
        Ok(Written { object, created: false, changed: true })
    }
}

/// RFC 7386.
fn merge_patch(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(map) = target.as_object_mut() else { return };
    for (name, value) in patch {
        if value.is_null() {
            map.remove(name);
        } else {
            merge_patch(map.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}
