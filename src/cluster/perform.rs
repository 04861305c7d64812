//! The only writer: each call checks the leadership and its clock first, has a timeout, and is counted.

use std::{
    collections::HashMap,
    fmt::Debug,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::{NamespaceResourceScope, api::batch::v1::Job};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, ListParams, ObjectList, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy},
    core::{DeserializeGuard, Request},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    cluster::{
        cache::{self, Cache, Kept},
        contest::Contests,
        error::{Class, Error},
        leader::{Leadership, Term},
        watch::get,
    },
    core::name::{Key, digest},
    render::{MANAGER, Owner},
    telemetry::{self, Metrics},
};

/// How long one call may take. With the renew deadline it stays below the lease's duration (10 s + 4 s < 15 s): a write
/// that began while this process led has ended before another can lead.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(4);

/// So often a deletion is tried while its object changes: a pod that is placed and started changes twice or three times.
const DELETE_TRIES: u32 = 5;

/// So many objects of a list are read at a time.
const PAGE: u32 = 200;

/// A kind of which status is reported, of a namespace or of the cluster.
pub trait Reported:
    Resource<DynamicType = ()> + Serialize + DeserializeOwned + Clone + Debug + Send + Sync + 'static
{
}
impl<K> Reported for K where
    K: Resource<DynamicType = ()> + Serialize + DeserializeOwned + Clone + Debug + Send + Sync + 'static
{
}

/// A namespaced kind that can be written.
pub trait Writable:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Serialize + DeserializeOwned + Clone + Debug
{
}
impl<K> Writable for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Serialize + DeserializeOwned + Clone + Debug
{
}

/// Writes to the API server while this process leads.
#[derive(Clone)]
pub struct Writer {
    client: Client,
    leadership: Leadership,
    metrics: Metrics,
    applied: Arc<Mutex<HashMap<String, Applied>>>,
    contests: Arc<Contests>,
}

/// What was applied last, so that the same is not applied again.
#[derive(Debug, PartialEq, Eq)]
struct Applied {
    uid: String,
    hash: String,
    /// The object's generation, or its resource version where the kind has none, after the write: another value means
    /// that somebody else changed what we applied.
    mark: String,
}

impl Writer {
    /// A writer for this leadership.
    #[must_use]
    pub fn new(client: Client, leadership: Leadership, metrics: Metrics) -> Self {
        Self { client, leadership, metrics, applied: Arc::default(), contests: Arc::default() }
    }

    /// The present term.
    ///
    /// # Errors
    /// When this process does not lead.
    pub fn term(&self) -> Result<Term, Error> {
        self.leadership.term().ok_or(Error::NotLeader)
    }

    /// The present term, for a decision on a status that was last written under this epoch.
    ///
    /// # Errors
    /// When this process does not lead, or when the status tells of a term after this one.
    pub fn term_after(&self, epoch: Option<i64>) -> Result<Term, Error> {
        let term = self.term()?;
        match epoch.filter(|written| *written > term.epoch) {
            Some(later) => {
                tracing::warn!(epoch = term.epoch, later, "a status tells of a later term: nothing is written here");
                self.leadership.spent(later);
                Err(Error::NotLeader)
            }
            None => Ok(term),
        }
    }

    pub(super) fn api<K: Writable>(&self, namespace: &str) -> Api<K> {
        Api::namespaced(self.client.clone(), namespace)
    }

    pub(super) async fn call<K: Resource<DynamicType = ()>, T>(
        &self,
        verb: &'static str,
        future: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, Error> {
        self.term()?;
        let kind = K::kind(&()).into_owned();
        let begun = tokio::time::Instant::now();
        let result = match tokio::time::timeout(CALL_TIMEOUT, future).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(source)) => {
                Err(Error::Api { verb, kind: kind.clone(), resource: resource::<K>(), source: Box::new(source) })
            }
            Err(_) => Err(Error::Timeout { verb, kind: kind.clone(), seconds: CALL_TIMEOUT.as_secs() }),
        };
        let outcome = result.as_ref().err().map_or("ok", Error::reason);
        self.metrics
            .api_seconds
            .get_or_create(&telemetry::Kind { kind: kind.clone() })
            .observe(begun.elapsed().as_secs_f64());
        self.metrics.api_calls.get_or_create(&telemetry::ApiCall { verb, kind, outcome }).inc();
        result
    }

    /// Replaces the status as a whole. The object carries the resource version that the decision was made from, so that a
    /// decision on old knowledge is refused with a conflict.
    ///
    /// # Errors
    /// As every call.
    async fn replace_status<K: Reported>(&self, object: &K) -> Result<K, Error> {
        let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        let path = K::url_path(&(), object.namespace().as_deref());
        self.call::<K, _>("update", async {
            let bytes = serde_json::to_vec(object).map_err(kube::Error::SerdeError)?;
            let request = Request::new(path).replace_subresource("status", &object.name_any(), &params, bytes);
            self.client.request(request.map_err(kube::Error::BuildRequest)?).await
        })
        .await
    }

    /// Writes an object's status and puts the answer into its cache. After a conflict the cache holds what is stored now, for
    /// the next decision.
    ///
    /// # Errors
    /// As every call.
    pub async fn report<K: Reported, S: Kept<K>>(&self, object: &K, cache: &Cache<K, S>) -> Result<(), Error> {
        let result = self.report_as_seen(object, cache).await;
        if result.as_ref().is_err_and(|e| e.class() == Class::Conflict) {
            self.refresh(&cache::key(object), cache, |_| {}).await?;
        }
        result
    }

    /// As [`Self::report`]; after a conflict the watch has to tell what is stored now.
    ///
    /// # Errors
    /// As every call.
    pub async fn report_as_seen<K: Reported, S: Kept<K>>(&self, object: &K, cache: &Cache<K, S>) -> Result<(), Error> {
        let mut written = self.replace_status(object).await?;
        written.managed_fields_mut().clear();
        cache.wrote(written);
        Ok(())
    }

    /// Creates an object of a deterministic name, or finds the one that an earlier attempt made. Gives it without the list of
    /// who owns its fields, as caches hold it, and whether it was found.
    ///
    /// # Errors
    /// As every call; [`Error::NameTaken`] when an object of this name belongs to somebody else.
    pub async fn create<K: Writable>(&self, object: &K, owner: &Owner) -> Result<(K, bool), Error> {
        let api = self.api::<K>(&owner.namespace);
        let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        let (mut present, found) = match self.call::<K, _>("create", api.create(&params, object)).await {
            Err(e) if e.is_already_exists() => {
                let present = self.call::<K, _>("get", api.get(&object.name_any())).await?;
                self.ours(&present, owner)?;
                (present, true)
            }
            other => (other?, false),
        };
        present.managed_fields_mut().clear();
        Ok((present, found))
    }

    fn ours<K: Writable>(&self, present: &K, owner: &Owner) -> Result<(), Error> {
        if owner.controls(present.meta()) {
            Ok(())
        } else {
            Err(Error::NameTaken { kind: K::kind(&()).into_owned(), name: present.name_any() })
        }
    }

    /// Applies an object by server-side apply, unless the same was applied before and nobody has changed it since.
    /// `present` is the object as cached; `None` when no object of this name carries our label.
    ///
    /// # Errors
    /// As every call; [`Error::NameTaken`] when an object of this name belongs to somebody else, [`Error::Contended`] when somebody
    /// has changed it back so often that it rests for a while.
    pub async fn apply<K: Writable>(&self, object: &K, present: Option<&K>, owner: &Owner) -> Result<Option<K>, Error> {
        let name = object.name_any();
        let key = format!("{}/{}/{name}", K::kind(&()), owner.namespace);
        let wish = serde_json::to_vec(object).map_err(|e| Error::Api {
            verb: "patch",
            kind: K::kind(&()).into_owned(),
            resource: resource::<K>(),
            source: Box::new(kube::Error::SerdeError(e)),
        })?;
        let hash = digest([wish.as_slice()]);
        let api = self.api::<K>(&owner.namespace);
        match present {
            Some(present) => {
                self.ours(present, owner)?;
                let same = Applied { uid: present.uid().unwrap_or_default(), hash: hash.clone(), mark: mark(present) };
                if self.remembered(|a| a.get(&key) == Some(&same)) {
                    return Ok(None);
                }
                let undone = self.remembered(|a| a.get(&key).is_some_and(|a| a.uid == same.uid && a.hash == hash));
                if undone && !self.contests.may_set_right(&key) {
                    return Err(Error::Contended { kind: K::kind(&()).into_owned(), name });
                }
            }
            // an object without our label may have this name: applying would take it over
            None => {
                if let Some(found) = self.call::<K, _>("get", api.get_opt(&name)).await? {
                    self.ours(&found, owner)?;
                }
            }
        }
        let params = PatchParams::apply(MANAGER).force();
        let written = self.call::<K, _>("patch", api.patch(&name, &params, &Patch::Apply(object))).await?;
        let applied = Applied { uid: written.uid().unwrap_or_default(), hash, mark: mark(&written) };
        self.remembered(|a| a.insert(key, applied));
        Ok(Some(written))
    }

    fn remembered<T>(&self, f: impl FnOnce(&mut HashMap<String, Applied>) -> T) -> T {
        f(&mut self.applied.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Deletes exactly this object: not another one of the same name.
    ///
    /// # Errors
    /// As every call; an object that is gone already is no error.
    pub async fn delete<K: Writable>(&self, object: &K) -> Result<(), Error> {
        self.remove(object, None, None).await.map(drop)
    }

    /// Deletes an object in a version in which it goes on. What has happened to it since it was seen is read anew, and where it
    /// `goes_on` all the same, it is deleted as it is now; otherwise that is a conflict, after which its cache holds what is stored
    /// now, for the next decision.
    ///
    /// # Errors
    /// As [`Self::delete`].
    pub async fn delete_as_seen<K: Writable + Send + Sync + 'static>(
        &self,
        object: &Arc<K>,
        cache: &Cache<K>,
        prune: fn(&mut K),
        goes_on: fn(&K) -> bool,
    ) -> Result<(), Error> {
        let key = cache::key(object.as_ref());
        let mut present = Arc::clone(object);
        let mut tries = 0;
        loop {
            let result = self.remove(present.as_ref(), present.resource_version(), None).await.map(drop);
            // one that no watch shows must not get into the cache: nothing would take it out again
            if !result.as_ref().is_err_and(|e| e.class() == Class::Conflict) || cache.get(&key).is_none() {
                return result;
            }
            self.refresh(&key, cache, prune).await?;
            tries += 1;
            match cache.get(&key).filter(|now| now.uid() == object.uid() && goes_on(now)) {
                Some(now) if tries < DELETE_TRIES => present = now,
                _ => return result,
            }
        }
    }

    /// Deletes exactly this Job, which stays until its pods have gone: without a word about them they would be left alone. Gives
    /// the Job back as it is while it waits for them.
    ///
    /// # Errors
    /// As [`Self::delete`].
    pub async fn delete_with_pods(&self, job: &Job) -> Result<Option<Job>, Error> {
        self.remove(job, None, Some(PropagationPolicy::Foreground)).await
    }

    async fn remove<K: Writable>(
        &self,
        object: &K,
        version: Option<String>,
        dependents: Option<PropagationPolicy>,
    ) -> Result<Option<K>, Error> {
        let namespace = object.namespace().unwrap_or_default();
        let name = object.name_any();
        let params = DeleteParams {
            preconditions: Some(Preconditions { uid: object.uid(), resource_version: version }),
            propagation_policy: dependents,
            ..DeleteParams::default()
        };
        self.remembered(|a| a.remove(&format!("{}/{namespace}/{name}", K::kind(&()))));
        match self.call::<K, _>("delete", self.api::<K>(&namespace).delete(&name, &params)).await {
            Ok(answer) => Ok(answer.left()),
            Err(e) if e.is_not_found() => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Brings a cache up to date with all objects of a namespace, or of the cluster, of which these fields are so: a new leader must
    /// know what the one before it has written, however far its watches lag behind.
    ///
    /// # Errors
    /// As every call.
    pub async fn relist<K: Reported, S: Kept<K>>(
        &self,
        namespace: Option<&str>,
        fields: &str,
        cache: &Cache<K, S>,
    ) -> Result<(), Error> {
        let mut params = ListParams::default().fields(fields).limit(PAGE);
        loop {
            let page: ObjectList<DeserializeGuard<K>> = self
                .call::<K, _>("list", async {
                    let request = Request::new(K::url_path(&(), namespace)).list(&params);
                    self.client.request(request.map_err(kube::Error::BuildRequest)?).await
                })
                .await?;
            // the watch tells of those that cannot be read
            for mut object in page.items.into_iter().filter_map(|guard| guard.0.ok()) {
                object.managed_fields_mut().clear();
                cache.wrote(object);
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(()),
            }
        }
    }

    /// Reads one object from the API server itself.
    ///
    /// # Errors
    /// As every call.
    pub async fn read<K: Reported>(&self, namespace: &str, name: &str) -> Result<Option<K>, Error> {
        self.call::<K, _>("get", get(&self.client, &Key::new(namespace, name))).await
    }

    /// Brings one object in a cache up to date: somebody else has changed it, and the watch has not told yet.
    ///
    /// # Errors
    /// As every call.
    async fn refresh<K: Reported, S: Kept<K>>(
        &self,
        key: &Key,
        cache: &Cache<K, S>,
        prune: fn(&mut K),
    ) -> Result<(), Error> {
        match self.read::<K>(&key.namespace, &key.name).await? {
            Some(mut object) => {
                object.managed_fields_mut().clear();
                prune(&mut object);
                cache.wrote(object);
            }
            None => cache.gone(key),
        }
        Ok(())
    }
}

/// The resource as `kubectl` and RBAC name it.
fn resource<K: Resource<DynamicType = ()>>() -> String {
    let (plural, group) = (K::plural(&()), K::group(&()));
    if group.is_empty() { plural.into_owned() } else { format!("{plural}.{group}") }
}

fn mark<K: Resource>(object: &K) -> String {
    let meta = object.meta();
    meta.generation.map_or_else(|| meta.resource_version.clone().unwrap_or_default(), |g| format!("g{g}"))
}
