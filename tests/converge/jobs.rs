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
use tokio::time::{Instant, sleep_until};

use super::world::World;

/// From its turn to the start of an item's pod.
const STARTS_AFTER: Duration = Duration::from_millis(20);

#[derive(Default)]
struct Play {
    job: Value,
    /// Items at work: when they start, and in which attempt.
    running: BTreeMap<usize, (Instant, usize)>,
    /// When the Job was first seen.
    since: Option<Instant>,
    /// Pods of each item that were taken away at no cost.
    disrupted: BTreeMap<usize, usize>,
    succeeded: BTreeSet<usize>,
    failed: BTreeSet<usize>,
    told: Value,
    due: Option<Instant>,
}

/// Plays all Jobs for ever.
pub(super) async fn controller(world: Arc<World>, server: ApiServer) {
    let mut tape = server.tape("Job");
    let mut plays: HashMap<String, Play> = HashMap::new();
    loop {
        let due = plays.values().filter_map(|p| p.due).min();
        tokio::select! {
            biased;
            version = tape.next() => {
                let Some(version) = version else { return };
                let uid = version.object()["metadata"]["uid"].as_str().unwrap().to_owned();
                if version.deleted {
                    plays.remove(&uid);
                } else {
                    let play = plays.entry(uid).or_default();
                    play.job = version.object().clone();
                    if play.since.is_none() && play.job["spec"]["suspend"] != true {
                        play.go_on(&world, &server);
                    } else if !play.job["metadata"]["deletionTimestamp"].is_null() {
                        play.due = None;
                    }
                }
            }
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                let now = Instant::now();
                plays.values_mut().filter(|p| p.due.is_some_and(|at| at <= now)).for_each(|p| p.go_on(&world, &server));
            }
        }
    }
}

impl Play {
    fn go_on(&mut self, world: &World, server: &ApiServer) {
        self.due = None;
        let job = self.job.clone();
        let number = |field: &str| usize::try_from(job["spec"][field].as_u64().unwrap()).unwrap();
        let (total, parallel) = (number("completions"), number("parallelism"));
        let step = job["metadata"]["labels"][STEP_LABEL].as_str().unwrap();
        if step == "unseen" {
            return;
        }
        let seconds = |of: &Value| Duration::from_secs(of["activeDeadlineSeconds"].as_u64().unwrap());
        let (pods_limit, limit) = (seconds(&job["spec"]["template"]["spec"]), seconds(&job["spec"]));
        let now = Instant::now();
        let began = *self.since.get_or_insert(now);
        let late = began + limit <= now;
        for (index, (since, attempt)) in self.running.clone() {
            let disrupted = self.disrupted.get(&index).copied().unwrap_or(0);
            let fate = world.fate_of_item(step, index, attempt + disrupted);
            let timed_out = fate.has_place() && since + pods_limit <= now;
            if !timed_out && fate.runs.is_none_or(|r| since + r > now) {
                continue;
            }
            self.running.remove(&index);
            if !timed_out && fate.is_good() {
                self.succeeded.insert(index);
            } else if !timed_out && fate.is_evicted() && job["spec"]["podFailurePolicy"].is_object() {
                self.disrupted.insert(index, disrupted + 1);
                self.running.insert(index, (now + STARTS_AFTER, attempt));
            } else if attempt < number("backoffLimitPerIndex") {
                self.running.insert(index, (now + STARTS_AFTER, attempt + 1));
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
                self.running.insert(index, (now + STARTS_AFTER, 0));
            }
        }
        let ends = self.running.iter().filter_map(|(&index, &(since, attempt))| {
            let disrupted = self.disrupted.get(&index).copied().unwrap_or(0);
            let fate = world.fate_of_item(step, index, attempt + disrupted);
            let limit = fate.has_place().then_some(since + pods_limit);
            fate.runs.map(|r| since + r).into_iter().chain(limit).min()
        });
        let ends: Vec<Instant> = ends.chain([began + limit]).collect();
        self.due = ends.into_iter().min();
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
            self.due = None;
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
