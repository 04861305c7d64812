//! What a decision about a run asks for, in its order: what must go before the status is written, and what may begin after.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::{ObjectReference, PersistentVolumeClaim, Pod};
use kube::ResourceExt;

use crate::{
    cluster::{error::Error, jobs::prune_job, observe::prune_pod, perform::Writable, pods::is_over},
    core::{
        coordination::{definition::with_ids, view::Decision},
        name::{self, Key},
        note::Note,
    },
    loops::{refusals::set_aside, runs::Runs, unseen::Belongings},
    medical::calls::CallIo,
    render::{self, Owner},
};

/// Objects of one run that are made at the same time.
const TOGETHER: usize = 8;

impl<I: CallIo> Runs<I> {
    /// Takes away what the next status does not tell of any more.
    pub(super) async fn clear_away(
        &self,
        decision: &Decision,
        owner: &Owner,
        about: &ObjectReference,
    ) -> Result<(), Error> {
        if let Some(name) = &decision.drop_claim {
            self.drop_claim(name, owner, about).await?;
        }
        if !decision.drop_pods {
            return Ok(());
        }
        let mut pods = self.caches.pods.in_namespace(&owner.namespace);
        pods.retain(|p| owner.controls(&p.metadata));
        pods.extend(self.unseen_pods(decision, owner).await?);
        for pod in &pods {
            match self.writer.delete(pod.as_ref()).await {
                // it keeps the claim until the run's object goes
                Err(error) if error.refusal().is_some() => {}
                other => other?,
            }
        }
        // so do the pods of its Jobs
        for job in self.caches.jobs.in_namespace(&owner.namespace).iter().filter(|j| owner.controls(&j.metadata)) {
            match self.writer.delete_with_pods(job.as_ref()).await {
                Err(error) if error.refusal().is_some() => {}
                other => drop(other?),
            }
        }
        Ok(())
    }

    /// Pods of all attempts that the last status tells of, as far as no watch has shown them yet.
    async fn unseen_pods(&self, decision: &Decision, owner: &Owner) -> Result<Vec<Arc<Pod>>, Error> {
        let Some(status) = &decision.status else { return Ok(Vec::new()) };
        let with_pods = with_ids(status).filter(|(_, s)| s.pod.is_some());
        let names = with_pods
            .flat_map(|(id, s)| (1..=s.attempt.unwrap_or(1)).map(move |attempt| name::pod(&owner.name, &id, attempt)));
        let unseen = names.filter(|name| self.caches.pods.get(&Key::new(&owner.namespace, name)).is_none());
        Ok(self.read_all::<Pod>(owner, unseen.collect()).await?.into_iter().map(Arc::new).collect())
    }

    /// Makes and stops what the written status tells of; `own` is what the decision saw, whether or not a cache holds it. Gives
    /// what the API server refused, which is told in the next status, and whether something that was to be made was there
    /// already: what has become of it meanwhile may be known to no watch as news.
    pub(super) async fn bring_about(
        &self,
        key: &Key,
        decision: Decision,
        owner: &Owner,
        own: &Belongings,
    ) -> Result<(Option<Error>, bool), Error> {
        let mut refused = None;
        let found = self.make(&decision, owner, &mut refused).await?;
        for name in &decision.stop_pods {
            if let Some(pod) = own.pods.get(name) {
                // it is stopped for what it was seen doing. Should it have ended since, its result counts, and a leader that lags
                // must hear of it first
                let goes_on = |pod: &Pod| !is_over(pod);
                let stopped = self.writer.delete_as_seen(pod, &self.caches.pods, prune_pod, goes_on).await;
                set_aside(stopped, &mut refused)?;
            }
        }
        for name in &decision.stop_jobs {
            if let Some(job) = own.jobs.get(name)
                && let Some(Some(mut going)) =
                    set_aside(self.writer.delete_with_pods(job.as_ref()).await, &mut refused)?
                && self.caches.jobs.get(&Key::new(&key.namespace, name)).is_some()
            {
                prune_job(&mut going);
                self.caches.jobs.wrote(going);
            }
        }
        for attempt in &decision.stop_calls {
            self.dispatcher.stop(&owner.uid, attempt);
        }
        for call in decision.start_calls {
            // the lease is checked before a call as before a write
            self.writer.term()?;
            self.dispatcher.start(key, &owner.uid, call);
        }
        Ok((refused, found))
    }

    async fn make(&self, decision: &Decision, owner: &Owner, refused: &mut Option<Error>) -> Result<bool, Error> {
        let mut found = false;
        let claimed = match &decision.claim {
            Some(wish) => {
                let made = self.writer.create(&render::claim::claim(owner, wish), owner).await;
                set_aside(made, refused)?.is_some()
            }
            None => true,
        };
        // a pod that is there tells that its claim is
        if claimed {
            let pods = decision.start_pods.iter().map(|wish| render::pod::pod(owner, wish)).collect();
            found |= self
                .make_all(pods, owner, refused, |mut pod| {
                    prune_pod(&mut pod);
                    self.made(owner, &self.caches.pods, pod);
                })
                .await?;
            let jobs = decision.start_jobs.iter().map(|wish| render::job::job(owner, wish)).collect();
            found |= self
                .make_all(jobs, owner, refused, |mut job| {
                    prune_job(&mut job);
                    self.made(owner, &self.caches.jobs, job);
                })
                .await?;
        }
        let children = decision.start_runs.iter().map(|wish| render::child_run::child_run(owner, wish)).collect();
        found |= self.make_all(children, owner, refused, |child| self.made(owner, &self.caches.runs, child)).await?;
        Ok(found)
    }

    /// Makes objects, several at a time; whether some were there already. After a failure none is begun, and those that are under way are
    /// waited for: what was made, or may have been, must be known.
    async fn make_all<K: Writable>(
        &self,
        objects: Vec<K>,
        owner: &Owner,
        refused: &mut Option<Error>,
        took: impl Fn(K),
    ) -> Result<bool, Error> {
        let failed = AtomicBool::new(false);
        let made = stream::iter(objects).map(|object| async {
            let object = object;
            if failed.load(Ordering::Relaxed) {
                return None;
            }
            let made = self.writer.create(&object, owner).await;
            if made.as_ref().is_err_and(Error::is_in_doubt) {
                self.caches.lost.doubt(&owner.uid, object.name_any());
            }
            Some(made)
        });
        let mut made = pin!(made.buffered(TOGETHER));
        let (mut any_found, mut first) = (false, None);
        while let Some(result) = made.next().await {
            match result.map_or(Ok(None), |result| set_aside(result, refused)) {
                Ok(Some((object, found))) => {
                    took(object);
                    any_found |= found;
                }
                Ok(None) => {}
                Err(error) => {
                    failed.store(true, Ordering::Relaxed);
                    first.get_or_insert(error);
                }
            }
        }
        first.map_or(Ok(any_found), Err)
    }

    /// Removes a run's claim. One that may not be removed does not keep the run from ending: it goes with the run's object.
    async fn drop_claim(&self, name: &str, owner: &Owner, about: &ObjectReference) -> Result<(), Error> {
        let present = self.writer.read::<PersistentVolumeClaim>(&owner.namespace, name).await?;
        let Some(claim) = present.filter(|c| owner.controls(&c.metadata)) else { return Ok(()) };
        let result = self.writer.delete(&claim).await;
        if let Some(refusal) = result.as_ref().err().and_then(Error::refusal) {
            let message = format!("{}; the claim goes when this run is deleted", refusal.message());
            self.notes.tell(about, &[Note::warning("WorkspaceKept", message)]);
            return Ok(());
        }
        result
    }
}
