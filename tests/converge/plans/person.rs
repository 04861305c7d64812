//! Somebody who uses the cluster: asks for runs to stop or to be held, and finds out what became of steps whose outcome nobody
//! knows.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    super::stage::Stage,
    effects::Effects,
    scenario::{Act, Order, Scenario},
};

pub(crate) struct Person<'a> {
    scenario: &'a Scenario,
    effects: Effects,
    began: Instant,
    /// What was found out, by run.
    found: BTreeMap<String, BTreeMap<String, Value>>,
    looked_at: BTreeSet<(String, String, u64)>,
    /// What is to be asked for, and when.
    orders: Vec<(Duration, u8, Value)>,
}

impl<'a> Person<'a> {
    pub(crate) fn new(scenario: &'a Scenario, effects: Effects) -> Self {
        let seconds = |at: u16| Duration::from_secs(u64::from(at));
        let mut orders = Vec::new();
        for order in &scenario.orders {
            match *order {
                Order::Cancel { run, at } => orders.push((seconds(at), run, json!({ "cancel": true }))),
                Order::Suspend { run, at, secs } => {
                    orders.push((seconds(at), run, json!({ "suspend": true })));
                    orders.push((seconds(at) + seconds(secs), run, json!({ "suspend": false })));
                }
            }
        }
        orders.sort_by_key(|(at, ..)| *at);
        let (found, looked_at) = Default::default();
        Self { scenario, effects, began: Instant::now(), found, looked_at, orders }
    }

    /// Whether nothing is left to be asked for.
    pub(crate) fn is_content(&self) -> bool {
        self.orders.is_empty()
    }

    pub(crate) async fn give_orders(&mut self, stage: &Stage) {
        while self.orders.first().is_some_and(|(at, ..)| *at <= self.began.elapsed()) {
            let (_, run, spec) = self.orders.remove(0);
            // a run that has ended takes no order any more
            let _ = stage.try_set(&format!("r{run}"), spec).await;
        }
    }

    /// Looks into every step of unknown outcome once, and tells what became of it; whether there was something to tell.
    pub(crate) async fn find_out(&mut self, stage: &Stage) -> bool {
        if !self.scenario.person {
            return false;
        }
        let mut unknown = Vec::new();
        stage.server.for_each("WorkflowRun", |run| {
            let steps = run["status"]["steps"].as_object().into_iter().flatten();
            unknown.extend(steps.filter(|(_, s)| s["phase"] == "Unknown").map(|(name, status)| {
                let meta = |field: &str| run["metadata"][field].as_str().unwrap_or_default().to_owned();
                (meta("name"), meta("uid"), name.clone(), status.clone())
            }));
        });
        let mut told = false;
        for (run, uid, step, status) in unknown {
            let attempt = status["attempt"].as_u64().unwrap_or(1);
            if !self.looked_at.insert((run.clone(), step.clone(), attempt)) {
                continue;
            }
            let Some(outcome) = self.outcome(stage, &uid, &step, attempt, &status) else { continue };
            let found = self.found.entry(run.clone()).or_default();
            found.insert(step.clone(), json!({ "step": step, "attempt": attempt, "outcome": outcome }));
            let list = json!({ "resolutions": found.values().collect::<Vec<_>>() });
            told |= stage.try_set(&run, list).await.is_ok();
        }
        told
    }

    /// What became of an attempt; `None` where it cannot be told in one word.
    fn outcome(&self, stage: &Stage, uid: &str, name: &str, attempt: u64, status: &Value) -> Option<&'static str> {
        let step = self.scenario.step(name)?;
        let took = if step.act == Act::Container {
            let pod = status["pod"].as_str()?;
            stage.pods_created().iter().any(|p| p == pod)
        } else if step.each.is_some() {
            let unknown = status["items"]["indexes"]["unknown"].as_str()?;
            let items = medley::core::coordination::fan_out::indexes::Indexes::parse(Some(unknown));
            let known = self.effects.items_took(uid, name);
            let took = items.iter().filter(|i| known.contains(i)).count();
            match took {
                0 => false,
                n if n == items.len() as usize => true,
                _ => return None,
            }
        } else {
            self.effects.took(uid, name, u32::try_from(attempt).ok()?)
        };
        Some(if took { "Succeeded" } else { "Retry" })
    }
}

/// Whether every run has ended, or waits for a person and for nothing else.
pub(crate) fn all_rest(stage: &Stage) -> bool {
    let mut waiting: BTreeSet<String> = BTreeSet::new();
    let mut rest = false;
    // a parent waits when its child does, and children may stand anywhere in the list
    for _ in 0..2 {
        rest = true;
        stage.server.for_each("WorkflowRun", |run| {
            let phase = run["status"]["phase"].as_str().unwrap_or_default();
            if matches!(phase, "Succeeded" | "Failed" | "Canceled") {
                return;
            }
            if waits(run, &waiting) {
                waiting.insert(run["metadata"]["name"].as_str().unwrap_or_default().to_owned());
            } else {
                rest = false;
            }
        });
    }
    rest
}

/// Whether a run that has not ended waits for a person and for nothing else, given the children that do.
fn waits(run: &Value, waiting: &BTreeSet<String>) -> bool {
    let status = &run["status"];
    if !status["deadline"].is_null() && status["phase"] != "Compensating" {
        return false;
    }
    let mut waits = false;
    let lists = [&status["steps"], &status["compensations"]];
    for (_, step) in lists.iter().filter_map(|l| l.as_object()).flatten() {
        match step["phase"].as_str().unwrap_or_default() {
            "Unknown" => waits = true,
            "Starting" | "Running" if step["run"].as_str().is_some_and(|child| waiting.contains(child)) => waits = true,
            "Succeeded" | "Failed" | "Skipped" | "Canceled" => {}
            _ => return false,
        }
    }
    waits
}
