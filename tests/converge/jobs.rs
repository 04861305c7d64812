//! The Job controller of the simulation: makes no pods, but plays their fates and tells them in the Job's status, as the real one
//! does (`completedIndexes`, `failedIndexes`, `FailedIndexes`, `MaxFailedIndexesExceeded`, `DeadlineExceeded`). The controller is away
//! where the step is called `unseen`.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use harness::simulated::ApiServer;
use medley::{core::coordination::fan_out::indexes::Indexes, render::STEP_LABEL};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::world::{TICK, World};

#[derive(Default)]
struct Play {
    /// Items at work: since when, and in which attempt.
    running: BTreeMap<usize, (Option<Instant>, usize)>,
    /// When the Job was first seen.
    since: Option<Instant>,
    /// Pods of each item that were taken away at no cost.
    disrupted: BTreeMap<usize, usize>,
    succeeded: BTreeSet<usize>,
    failed: BTreeSet<usize>,
    told: Value,
    over: bool,
}

/// Plays all Jobs for ever.
pub(super) async fn controller(world: Arc<World>, server: ApiServer) {
    let mut plays: HashMap<String, Play> = HashMap::new();
    let mut version = 0;
    loop {
        sleep(TICK).await;
        let present = server.resource_version();
        if present == version && plays.values().all(|p| p.over) {
            continue;
        }
        version = present;
        let jobs = server.objects("Job");
        let uids: BTreeSet<&str> = jobs.iter().map(|j| j["metadata"]["uid"].as_str().unwrap()).collect();
        plays.retain(|uid, _| uids.contains(uid.as_str()));
        for job in &jobs {
            let play = plays.entry(job["metadata"]["uid"].as_str().unwrap().to_owned()).or_default();
            if !play.over && job["metadata"]["deletionTimestamp"].is_null() {
                play.go_on(&world, &server, job);
            }
        }
    }
}

impl Play {
    fn go_on(&mut self, world: &World, server: &ApiServer, job: &Value) {
        let number = |field: &str| usize::try_from(job["spec"][field].as_u64().unwrap()).unwrap();
        let (total, parallel) = (number("completions"), number("parallelism"));
        let step = job["metadata"]["labels"][STEP_LABEL].as_str().unwrap();
        if step == "unseen" {
            return;
        }
        let seconds = |of: &Value| Duration::from_secs(of["activeDeadlineSeconds"].as_u64().unwrap());
        let (pods_limit, limit) = (seconds(&job["spec"]["template"]["spec"]), seconds(&job["spec"]));
        let late = self.since.get_or_insert_with(Instant::now).elapsed() >= limit;
        for (index, (since, attempt)) in self.running.clone() {
            let disrupted = self.disrupted.get(&index).copied().unwrap_or(0);
            let fate = world.fate_of_item(step, index, attempt + disrupted);
            let since = since.unwrap_or_else(Instant::now);
            self.running.insert(index, (Some(since), attempt));
            let timed_out = fate.has_place() && since.elapsed() >= pods_limit;
            if !timed_out && fate.runs.is_none_or(|r| since.elapsed() < r) {
                continue;
            }
            self.running.remove(&index);
            if !timed_out && fate.is_good() {
                self.succeeded.insert(index);
            } else if !timed_out && fate.is_evicted() && job["spec"]["podFailurePolicy"].is_object() {
                self.disrupted.insert(index, disrupted + 1);
                self.running.insert(index, (None, attempt));
            } else if attempt < number("backoffLimitPerIndex") {
                self.running.insert(index, (None, attempt + 1));
            } else {
                self.failed.insert(index);
            }
        }
        let too_many = self.failed.len() > number("maxFailedIndexes");
        if too_many || late {
            self.running.clear();
        } else {
            let begun: BTreeSet<usize> =
                self.running.keys().chain(&self.succeeded).chain(&self.failed).copied().collect();
            let free = parallel - self.running.len();
            for index in (0..total).filter(|i| !begun.contains(i)).take(free) {
                self.running.insert(index, (None, 0));
            }
        }
        let now = server.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let start = job["status"]["startTime"].as_str().unwrap_or(&now).to_owned();
        let text = |set: &BTreeSet<usize>| {
            set.iter().map(|&i| u32::try_from(i).unwrap()).collect::<Indexes>().text().unwrap_or_default()
        };
        let mut status = json!({"active": self.running.len(), "succeeded": self.succeeded.len(), "startTime": start,
            "failed": self.failed.len(), "completedIndexes": text(&self.succeeded), "failedIndexes": text(&self.failed)});
        let end = if too_many {
            Some(("Failed", "MaxFailedIndexesExceeded"))
        } else if late {
            Some(("Failed", "DeadlineExceeded"))
        } else if self.succeeded.len() + self.failed.len() < total {
            None
        } else if self.failed.is_empty() {
            Some(("Complete", "CompletionsReached"))
        } else {
            Some(("Failed", "FailedIndexes"))
        };
        if let Some((kind, reason)) = end {
            self.over = true;
            status["conditions"] = json!([{"type": kind, "status": "True", "reason": reason, "message": "",
                "lastTransitionTime": now, "lastProbeTime": now}]);
        }
        if status != self.told {
            let meta = &job["metadata"];
            let (namespace, name) = (meta["namespace"].as_str().unwrap(), meta["name"].as_str().unwrap());
            server.patch_status("Job", namespace, name, &status).unwrap();
            self.told = status;
        }
    }
}
