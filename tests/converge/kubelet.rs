//! The kubelet and the scheduler of the simulation: move each pod as its fate says, at the moment when it is due.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use harness::simulated::{ApiServer, Version};
use medley::render::{ROLE_LABEL, SERVICE_LABEL, STEP_LABEL, pod::ATTEMPT};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use super::{
    fate::{End, Fate},
    world::World,
};

/// From a pod's creation to its container's start.
const STARTS_AFTER: Duration = Duration::from_millis(100);
/// From a pod's creation to the news that it cannot start.
const TOLD_AFTER: Duration = Duration::from_millis(20);
/// From the deletion of a pod to its end.
const GRACE: Duration = Duration::from_millis(500);

/// Moves pods for ever.
pub(super) async fn run(world: Arc<World>, server: ApiServer) {
    let mut tape = server.tape("Pod");
    let mut pods: HashMap<String, Pod> = HashMap::new();
    let mut due: BTreeSet<(Instant, String)> = BTreeSet::new();
    loop {
        let first = due.first().map(|(at, _)| *at);
        tokio::select! {
            biased;
            version = tape.next() => {
                let Some(version) = version else { return };
                take_in(&world, &version, &mut pods, &mut due);
            }
            () = sleep_until(first.unwrap_or_else(Instant::now)), if first.is_some() => {
                let Some((_, uid)) = due.pop_first() else { continue };
                let Some(pod) = pods.get_mut(&uid) else { continue };
                pod.due = None;
                pod.move_on(&server);
                pod.schedule(&uid, &mut due);
            }
        }
    }
}

fn take_in(world: &World, version: &Version, pods: &mut HashMap<String, Pod>, due: &mut BTreeSet<(Instant, String)>) {
    let meta = &version.object()["metadata"];
    if meta["labels"][SERVICE_LABEL].is_string() {
        // those of services have a player of their own
        return;
    }
    let uid = meta["uid"].as_str().unwrap();
    if version.deleted {
        if let Some(at) = pods.remove(uid).and_then(|pod| pod.due) {
            due.remove(&(at, uid.to_owned()));
        }
        return;
    }
    let pod = pods.entry(uid.to_owned()).or_insert_with(|| Pod::new(world, meta));
    let gated = version.object()["spec"]["schedulingGates"].as_array().is_some_and(|gates| !gates.is_empty());
    if pod.gated && !gated {
        pod.created = Instant::now();
    }
    pod.gated = gated;
    if !meta["deletionTimestamp"].is_null() && pod.ends.is_none() {
        pod.ends = Some(Instant::now() + GRACE);
    }
    pod.schedule(uid, due);
}

/// A pod and where it is on its way.
struct Pod {
    namespace: String,
    name: String,
    fate: Fate,
    created: Instant,
    stage: Stage,
    /// Somebody else is to say when it may be placed.
    gated: bool,
    /// That it waits for that stands in its status.
    told: bool,
    /// When a pod that is deleted ends.
    ends: Option<Instant>,
    due: Option<Instant>,
}

enum Stage {
    Created,
    Running(Instant),
    /// Nothing moves it any more.
    Over,
}

impl Pod {
    fn new(world: &World, meta: &Value) -> Self {
        let attempt: usize = meta["annotations"][ATTEMPT].as_str().unwrap().parse().unwrap();
        let mut step = meta["labels"][STEP_LABEL].as_str().unwrap().to_owned();
        if meta["labels"][ROLE_LABEL].is_string() {
            step.push_str(".compensate");
        }
        Self {
            namespace: meta["namespace"].as_str().unwrap().to_owned(),
            name: meta["name"].as_str().unwrap().to_owned(),
            fate: world.fate_of_pod(&step, attempt - 1),
            created: Instant::now(),
            stage: Stage::Created,
            gated: false,
            told: false,
            ends: None,
            due: None,
        }
    }

    fn schedule(&mut self, uid: &str, due: &mut BTreeSet<(Instant, String)>) {
        let next = self.next();
        if next != self.due {
            if let Some(at) = self.due {
                due.remove(&(at, uid.to_owned()));
            }
            due.extend(next.map(|at| (at, uid.to_owned())));
            self.due = next;
        }
    }

    /// When something happens to it.
    fn next(&self) -> Option<Instant> {
        if self.ends.is_some() {
            return self.ends;
        }
        if self.gated {
            return (!self.told).then_some(self.created + TOLD_AFTER);
        }
        let vanishes = matches!(self.fate.end, End::Gone).then(|| self.created + self.fate.runs.unwrap_or_default());
        let moves = match (&self.stage, &self.fate.end) {
            (Stage::Over, _) => None,
            (Stage::Created, End::Waits(_) | End::Unplaced) => Some(self.created + TOLD_AFTER),
            (Stage::Created, _) => Some(self.created + STARTS_AFTER),
            (Stage::Running(_), End::Gone) => None,
            (Stage::Running(since), _) => self.fate.runs.map(|r| *since + r),
        };
        vanishes.into_iter().chain(moves).min()
    }

    fn move_on(&mut self, server: &ApiServer) {
        let now = Instant::now();
        let gone = matches!(self.fate.end, End::Gone) && self.created + self.fate.runs.unwrap_or_default() <= now;
        if gone || self.ends.is_some_and(|at| at <= now) {
            self.stage = Stage::Over;
            server.delete("Pod", &self.namespace, &self.name, 0).unwrap();
            self.ends = None;
            return;
        }
        if self.gated {
            self.told = true;
            let gated = json!({"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"});
            server.patch_status("Pod", &self.namespace, &self.name, &json!({"conditions": [gated]})).unwrap();
            return;
        }
        let moment = server.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let (stage, status) = match (&self.stage, &self.fate.end) {
            (Stage::Over, _) => return,
            (Stage::Created, End::Waits(reason)) => {
                let state = json!({"waiting": {"reason": reason}});
                (Stage::Over, json!({"containerStatuses": [container(state, "")]}))
            }
            (Stage::Created, End::Unplaced) => {
                let unplaced = json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable"});
                (Stage::Over, json!({"conditions": [unplaced]}))
            }
            (Stage::Created, _) => {
                server.patch("Pod", &self.namespace, &self.name, &json!({"spec": {"nodeName": "node-1"}})).unwrap();
                let mut running = container(json!({"running": {"startedAt": moment}}), "i");
                running["ready"] = true.into();
                let status = json!({"phase": "Running", "startTime": moment, "containerStatuses": [running]});
                (Stage::Running(now), status)
            }
            (Stage::Running(_), End::Exit(code, message)) => {
                let (phase, reason) = if *code == 0 { ("Succeeded", "Completed") } else { ("Failed", "Error") };
                let ended = json!({"exitCode": code, "reason": reason, "message": message, "finishedAt": moment});
                let container = container(json!({"terminated": ended, "running": null}), "i");
                (Stage::Over, json!({"phase": phase, "containerStatuses": [container]}))
            }
            (Stage::Running(_), End::Evicted) => {
                (Stage::Over, json!({"phase": "Failed", "reason": "Evicted", "containerStatuses": []}))
            }
            (Stage::Running(_), End::Gone | End::Waits(_) | End::Unplaced) => return,
        };
        self.stage = stage;
        server.patch_status("Pod", &self.namespace, &self.name, &status).unwrap();
    }
}

fn container(state: Value, image: &str) -> Value {
    json!({"name": "step", "ready": false, "restartCount": 0, "image": "i", "imageID": image, "state": state})
}
