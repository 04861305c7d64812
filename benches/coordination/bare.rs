//! The bare loop: the requests of a perfect engine, without an engine.
//!
//! It has learned from one real run what is written, so that its requests are as large as the operator's. It decides nothing: no
//! cache, no definition, no look at anything but the end of its pods.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt,
    api::PostParams,
    runtime::{WatchStreamExt, watcher},
};
use medley::api::{WorkflowRun, WorkflowRunStatus, workflow_run::RunPhase};

use crate::{
    common::observer::Observer,
    support::{operator::Operator, stage::Stage},
};

/// Requests under way together, of the loader and of each kind of write: as many as the operator's workers.
pub(crate) const TOGETHER: usize = 16;

/// What the operator writes for a run of one step.
pub(crate) struct Template {
    pub(crate) started: WorkflowRunStatus,
    pub(crate) ended: WorkflowRunStatus,
    pod: Option<Pod>,
}

impl Template {
    /// Watches one run of this workflow.
    pub(crate) async fn learn(stage: &Stage, space: &str, workflow: &str) -> Self {
        let operator = Operator::leading(stage, "one").await;
        stage.ready(space, &format!("mwf/{workflow}"));
        let versions: Arc<Mutex<Vec<WorkflowRun>>> = Arc::default();
        let (api, all) = (stage.runs(space), Arc::clone(&versions));
        let watching = tokio::spawn(async move {
            let mut runs = std::pin::pin!(watcher(api, watcher::Config::default()).applied_objects());
            while let Some(run) = runs.try_next().await.unwrap() {
                all.lock().unwrap().push(run);
            }
        });
        let mut observer = Observer::of(stage, space, false);
        create(stage, space, workflow, "learned").await;
        observer.ended(1, Duration::from_secs(30)).await;
        let pods: Api<Pod> = Api::namespaced(stage.client.clone(), space);
        let pod = pods.list(&Default::default()).await.unwrap().items.into_iter().next().map(|mut pod| {
            pod.status = None;
            pod.metadata.uid = None;
            pod.metadata.resource_version = None;
            pod.metadata.managed_fields = None;
            pod.metadata.creation_timestamp = None;
            pod.metadata.generation = None;
            // what admission and the scheduler have put in
            if let Some(spec) = pod.spec.as_mut() {
                spec.node_name = None;
                spec.priority = None;
                spec.tolerations = None;
                spec.preemption_policy = None;
            }
            pod
        });
        watching.abort();
        operator.stop().await;
        let seen: Vec<WorkflowRunStatus> =
            versions.lock().unwrap().iter().filter_map(|run| run.status.clone()).collect();
        let ended = seen.iter().find(|s| s.phase == Some(RunPhase::Succeeded)).unwrap().clone();
        Self { started: seen[0].clone(), ended, pod }
    }

    /// Makes these runs of one pod and brings each to its end.
    pub(crate) async fn drive_pods(&self, stage: &Stage, space: &str, workflow: &str, count: usize) {
        let open: Mutex<HashMap<String, WorkflowRun>> = Mutex::default();
        let runs = stage.runs(space);
        let pods: Api<Pod> = Api::namespaced(stage.client.clone(), space);
        let started = stream::iter(0..count).for_each_concurrent(TOGETHER, |number| {
            let (runs, pods, open) = (&runs, &pods, &open);
            async move {
                let run = create(stage, space, workflow, &format!("run-{number}")).await;
                let written = self.write(runs, run, &self.started).await;
                let mut pod = self.pod.clone().unwrap();
                let owner = &mut pod.metadata.owner_references.as_mut().unwrap()[0];
                (owner.name, owner.uid) = (written.name_any(), written.uid().unwrap());
                let name = format!("{}-work-1", written.name_any());
                pod.metadata.name = Some(name.clone());
                open.lock().unwrap().insert(name, written);
                pods.create(&PostParams::default(), &pod).await.unwrap();
            }
        });
        let over = |pod: Pod| {
            let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref());
            (phase == Some("Succeeded")).then(|| open.lock().unwrap().remove(&pod.name_any())).flatten()
        };
        let config = watcher::Config::default().labels(medley::render::RUN_LABEL);
        let watched = watcher(pods.clone(), config).default_backoff().applied_objects();
        let ended = watched
            .map_ok(over)
            .try_filter_map(|run| async move { Ok(run) })
            .take(count)
            .for_each_concurrent(TOGETHER, |run| async { drop(self.write(&runs, run.unwrap(), &self.ended).await) });
        futures::join!(started, ended);
    }

    /// Makes these runs of one call and brings each to its end.
    pub(crate) async fn drive_calls(&self, stage: &Stage, space: &str, workflow: &str, count: usize, url: &str) {
        let runs = stage.runs(space);
        let client = reqwest::Client::new();
        stream::iter(0..count)
            .for_each_concurrent(TOGETHER, |number| {
                let (runs, client) = (&runs, &client);
                async move {
                    let run = create(stage, space, workflow, &format!("run-{number}")).await;
                    let written = self.write(runs, run, &self.started).await;
                    client.get(url).send().await.unwrap().bytes().await.unwrap();
                    self.write(runs, written, &self.ended).await;
                }
            })
            .await;
    }

    /// Writes a run's status.
    pub(crate) async fn write(
        &self,
        api: &Api<WorkflowRun>,
        run: WorkflowRun,
        status: &WorkflowRunStatus,
    ) -> WorkflowRun {
        let mut next = run;
        next.managed_fields_mut().clear();
        next.status = Some(status.clone());
        api.replace_status(&next.name_any(), &PostParams::default(), &next).await.unwrap()
    }
}

/// Makes a run.
pub(crate) async fn create(stage: &Stage, space: &str, workflow: &str, name: &str) -> WorkflowRun {
    let spec = serde_json::from_value(serde_json::json!({ "workflow": workflow })).unwrap();
    stage.runs(space).create(&PostParams::default(), &WorkflowRun::new(name, spec)).await.unwrap()
}

/// Makes many runs, as fast as the bare loop's loader does.
pub(crate) async fn load(stage: &Stage, space: &str, workflow: &str, count: usize) {
    stream::iter(0..count)
        .for_each_concurrent(TOGETHER, |number| async move {
            create(stage, space, workflow, &format!("run-{number}")).await;
        })
        .await;
}
