//! What happens when an object is deleted? Preconditions, finalizers, grace of pods, and who clears up after an owner.

use super::{
    error::ApiError,
    kinds::KindInfo,
    store::{Place, State, Stored},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::sync::Arc;

/// Seconds a running pod gets when nobody says otherwise.
const POD_GRACE: i64 = 30;
const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

/// What became of an object that was to be deleted.
#[derive(Debug)]
pub(super) struct Deleted {
    pub(super) object: Arc<Stored>,
    /// It is gone; otherwise it waits for finalizers or for its kubelet.
    pub(super) gone: bool,
    pub(super) changed: bool,
}

impl State {
    /// Deletes as `options` (a `DeleteOptions` object, or null) say.
    pub(super) fn delete(
        &mut self,
        table: usize,
        namespace: &str,
        name: &str,
        options: &Value,
    ) -> Result<Deleted, ApiError> {
        let info = self.info(table);
        let old = self.get(table, namespace, name)?;
        check_preconditions(&info, &old, &options["preconditions"])?;
        let key = self.tables[table].key(namespace, name);
        let dry_run = options["dryRun"].as_array().is_some_and(|d| !d.is_empty());
        let policy = options["propagationPolicy"].as_str().unwrap_or("Background");
        if let Some(unknown) = Some(policy).filter(|p| !matches!(*p, "Background" | "Foreground" | "Orphan")) {
            let message = format!(
                "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: {unknown:?}: supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\""
            );
            return Err(ApiError::new(422, "Invalid", message));
        }
        let mut finalizers = old.finalizers();
        finalizers.retain(|f| f != FOREGROUND && f != ORPHAN);
        match policy {
            "Foreground" => finalizers.push(FOREGROUND.to_owned()),
            "Orphan" => finalizers.push(ORPHAN.to_owned()),
            _ => {}
        }
        let asked = options["gracePeriodSeconds"].as_i64();
        if old.is_deleting() && asked.is_none() && finalizers == old.finalizers() {
            // Who asks again without saying how fast changes nothing.
            return Ok(Deleted { object: old, gone: false, changed: false });
        }
        let grace = grace(&info, &old, asked);
        if finalizers.is_empty() && grace == 0 {
            if dry_run {
                return Ok(Deleted { object: old, gone: true, changed: false });
            }
            if info.kind == "CustomResourceDefinition" {
                let spec = &old.value["spec"];
                self.stop_serving(
                    spec["group"].as_str().unwrap_or_default(),
                    spec["names"]["plural"].as_str().unwrap_or_default(),
                );
            }
            let object = self.remove(table, &key).unwrap_or(old);
            return Ok(Deleted { object, gone: true, changed: true });
        }
        let mut value = old.value.clone();
        let metadata = &mut value["metadata"];
        let shorter = metadata["deletionGracePeriodSeconds"].as_i64().is_none_or(|before| grace < before);
        if !old.is_deleting() {
            metadata["deletionTimestamp"] = self.clock.stamp(grace).into();
            metadata["deletionGracePeriodSeconds"] = grace.into();
        } else if shorter {
            let before = metadata["deletionGracePeriodSeconds"].as_i64().unwrap_or(0);
            metadata["deletionTimestamp"] = earlier(old.meta("deletionTimestamp"), before - grace).into();
            metadata["deletionGracePeriodSeconds"] = grace.into();
        }
        if !old.is_deleting()
            && let Some(generation) = metadata["generation"].as_i64()
        {
            metadata["generation"] = (generation + 1).into();
        }
        if finalizers != old.finalizers() {
            metadata["finalizers"] = finalizers.into();
        }
        if value == old.value || dry_run {
            return Ok(Deleted { object: old, gone: false, changed: false });
        }
        let object = self.put(table, &key, value, old.managers.clone());
        if policy != "Background" {
            self.waiting.insert(object.meta("uid").to_owned());
        }
        Ok(Deleted { object, gone: false, changed: true })
    }

    /// Whether the garbage collector has something to look at.
    pub(super) fn needs_sweep(&self) -> bool {
        !self.orphaned.is_empty() || self.waiting.iter().any(|uid| self.can_go_on(uid))
    }

    fn can_go_on(&self, uid: &str) -> bool {
        let Some(owner) = self.object_of(uid) else { return true };
        let finalizers = owner.finalizers();
        let pending = |f: &str| finalizers.iter().any(|x| x == f);
        pending(ORPHAN) || (pending(FOREGROUND) && (self.blocking(uid) == 0 || self.untouched(uid).next().is_some()))
    }

    fn object_of(&self, uid: &str) -> Option<Arc<Stored>> {
        let (table, key) = self.uids.get(uid)?;
        self.tables[*table].objects.get(key).cloned()
    }

    fn dependents_of<'a>(&'a self, uid: &str) -> impl Iterator<Item = (&'a Place, &'a Arc<Stored>)> {
        let places = self.dependents.get(uid).into_iter().flatten();
        places.filter_map(|place| self.tables[place.0].objects.get(&place.1).map(|object| (place, object)))
    }

    /// Dependents that keep a foreground deletion waiting.
    fn blocking(&self, uid: &str) -> usize {
        let blocks = |object: &Stored| {
            let references = object.value["metadata"]["ownerReferences"].as_array().into_iter().flatten();
            references.into_iter().any(|r| r["uid"] == uid && r["blockOwnerDeletion"] == true)
        };
        self.dependents_of(uid).filter(|(_, object)| blocks(object)).count()
    }

    fn untouched<'a>(&'a self, uid: &str) -> impl Iterator<Item = &'a Place> {
        self.dependents_of(uid).filter(|(_, object)| !object.is_deleting()).map(|(place, _)| place)
    }

    /// One round of the garbage collector: deletes what has no living owner, lets go what is to be kept.
    pub(super) fn sweep(&mut self) {
        for uid in std::mem::take(&mut self.orphaned) {
            if self.uids.contains_key(&uid) {
                continue;
            }
            let places: Vec<Place> = self.dependents.get(&uid).into_iter().flatten().cloned().collect();
            for place in places {
                self.collect(&place);
            }
        }
        for uid in self.waiting.clone() {
            let Some(owner) = self.object_of(&uid) else {
                self.waiting.remove(&uid);
                continue;
            };
            if owner.finalizers().iter().any(|f| f == ORPHAN) {
                let places: Vec<Place> = self.dependents.get(&uid).into_iter().flatten().cloned().collect();
                for place in places {
                    self.let_go(&place, |owner| owner == uid);
                }
                self.drop_finalizer(&uid, ORPHAN);
            } else {
                let places: Vec<Place> = self.untouched(&uid).cloned().collect();
                for place in places {
                    self.delete_place(&place);
                }
                if self.blocking(&uid) == 0 {
                    self.drop_finalizer(&uid, FOREGROUND);
                }
            }
        }
    }

    fn collect(&mut self, place: &Place) {
        let Some(object) = self.tables[place.0].objects.get(&place.1).cloned() else { return };
        if object.owners().iter().any(|owner| self.uids.contains_key(owner)) {
            let known: Vec<String> =
                object.owners().into_iter().filter(|owner| self.uids.contains_key(owner)).collect();
            self.let_go(place, |owner| !known.iter().any(|k| k == owner));
        } else if !object.is_deleting() {
            self.delete_place(place);
        }
    }

    fn delete_place(&mut self, place: &Place) {
        let Some(object) = self.tables[place.0].objects.get(&place.1).cloned() else { return };
        let (namespace, name) = (object.meta("namespace").to_owned(), object.meta("name").to_owned());
        // It was found a line above and nothing ran in between, so it is there and has no precondition to fail.
        let _ = self.delete(place.0, &namespace, &name, &Value::Null);
    }

    fn let_go(&mut self, place: &Place, of: impl Fn(&str) -> bool) {
        let Some(object) = self.tables[place.0].objects.get(&place.1).cloned() else { return };
        let mut value = object.value.clone();
        if let Some(references) = value["metadata"]["ownerReferences"].as_array_mut() {
            references.retain(|r| !of(r["uid"].as_str().unwrap_or_default()));
            if references.is_empty() {
                value["metadata"].as_object_mut().map(|m| m.remove("ownerReferences"));
            }
        }
        self.put(place.0, &place.1, value, object.managers.clone());
    }

    fn drop_finalizer(&mut self, uid: &str, finalizer: &str) {
        self.waiting.remove(uid);
        let Some((table, key)) = self.uids.get(uid).cloned() else { return };
        let Some(object) = self.object_of(uid) else { return };
        let mut left = object.finalizers();
        left.retain(|f| f != finalizer);
        if left.is_empty() {
            self.remove(table, &key);
        } else {
            let mut value = object.value.clone();
            value["metadata"]["finalizers"] = left.into();
            self.put(table, &key, value, object.managers.clone());
        }
    }
}

/// A time of deletion, brought forward. What is not a time stays as it is.
fn earlier(stamp: &str, seconds: i64) -> String {
    let moved = stamp.parse::<Timestamp>().ok().and_then(|at| at.checked_sub(SignedDuration::from_secs(seconds)).ok());
    moved.map_or_else(|| stamp.to_owned(), |at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

fn check_preconditions(info: &KindInfo, old: &Stored, wanted: &Value) -> Result<(), ApiError> {
    let name = old.meta("name");
    if let Some(uid) = wanted["uid"].as_str()
        && uid != old.meta("uid")
    {
        let why = format!(
            "the UID in the precondition ({uid}) does not match the UID in record ({}). The object might have been deleted and then recreated",
            old.meta("uid")
        );
        return Err(ApiError::precondition(info, name, &why));
    }
    if let Some(rv) = wanted["resourceVersion"].as_str()
        && rv != old.meta("resourceVersion")
    {
        let why = format!(
            "the ResourceVersion in the precondition ({rv}) does not match the ResourceVersion in record ({}). The object might have been modified",
            old.meta("resourceVersion")
        );
        return Err(ApiError::precondition(info, name, &why));
    }
    Ok(())
}

/// Only a pod that a kubelet runs is given time.
fn grace(info: &KindInfo, old: &Stored, asked: Option<i64>) -> i64 {
    let pod = &old.value;
    let is_pod = info.kind == "Pod" && info.group.is_empty();
    let scheduled = pod["spec"]["nodeName"].as_str().is_some_and(|n| !n.is_empty());
    let ended = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    if !is_pod || !scheduled || ended {
        return 0;
    }
    asked.or_else(|| pod["spec"]["terminationGracePeriodSeconds"].as_i64()).unwrap_or(POD_GRACE).max(0)
}
