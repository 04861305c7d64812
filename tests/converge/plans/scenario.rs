//! What is run, and how the world treats each step: workflows and runs that fit into one line of JSON.

use medley::api::vocabulary::ErrorClass;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Workflows, their runs, and the world around them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Scenario {
    /// Steps of the workflow that is run.
    pub(crate) steps: Vec<Step>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) finally: Vec<Step>,
    /// Steps of the workflow `part`, which steps with [`Act::Child`] run.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) part: Vec<Step>,
    /// How many runs there are.
    pub(crate) runs: u8,
    /// Somebody finds out what nobody knows, and tells.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) person: bool,
    /// The pods of a run share a volume.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) workspace: bool,
    /// Calls, containers and waits take one each of so many slots; 0 for no pool.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) slots: u8,
    /// So many calls the service is sent at a time; 0 for no bound.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) places: u8,
    /// So many runs, pods and calls a policy lets be at work; 0 for no policy.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) limit: u8,
    /// In seconds; 0 for none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) deadline: u32,
    /// What people ask for on the way.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) orders: Vec<Order>,
}

/// One step. Its name is unique among all steps of the scenario.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Step {
    pub(crate) name: String,
    pub(crate) act: Act,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) after: Vec<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) when: Option<bool>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) each: Option<Each>,
    /// It may take effect once at most.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) once: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) interruptible: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) retry: Option<Retry>,
    /// In seconds; time enough where it is not set.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) timeout: Option<u32>,
    /// What undoes it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) undo: Option<Undo>,
    /// How its attempts fare, in order; the last holds for all further ones, and well where there is none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) fares: Vec<Fare>,
}

/// What a step does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Act {
    #[default]
    Call,
    Container,
    Transform,
    /// So many seconds.
    Wait(u32),
    /// Runs the workflow `part`.
    Child,
}

/// For how many items a step is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Each {
    pub(crate) count: u16,
    pub(crate) parallel: u16,
    pub(crate) tolerate: u16,
    /// The items that fare as the step's `fares` say; all others fare well.
    pub(crate) bad: Vec<u16>,
}

/// Further attempts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Retry {
    pub(crate) limit: u8,
    /// The usual classes where there is none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) errors: Vec<ErrorClass>,
}

/// What undoes a step: a call, or a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Undo {
    pub(crate) container: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) fares: Vec<Fare>,
}

/// How one attempt fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Fare {
    /// It works for so many milliseconds and ends well.
    Well(u32),
    /// The service answers this.
    Status(u16),
    /// It takes effect, then the connection breaks.
    Reset,
    /// There is no connection.
    Refused,
    /// It takes effect and never ends.
    Hang,
    /// The container ends with this code.
    Exit(i32),
    /// The pod is evicted so many milliseconds after its start.
    Evicted(u32),
    /// The pod goes away so many milliseconds after its creation.
    Vanish(u32),
    /// The kubelet cannot start the container.
    Stuck,
    /// The scheduler has no place for the pod.
    Unplaced,
}

/// What a person asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Run number `run` is to stop.
    Cancel { run: u8, at: u16 },
    /// Run number `run` is held for so many seconds.
    Suspend { run: u8, at: u16, secs: u16 },
}

pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Scenario {
    /// All steps, those of the part included.
    pub(crate) fn every_step(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().chain(&self.finally).chain(&self.part)
    }

    pub(crate) fn every_step_mut(&mut self) -> impl Iterator<Item = &mut Step> {
        self.steps.iter_mut().chain(&mut self.finally).chain(&mut self.part)
    }

    pub(crate) fn step(&self, name: &str) -> Option<&Step> {
        self.every_step().find(|s| s.name == name)
    }

    /// Whether each step comes after the one above it, so that nothing depends on which of two is quicker.
    pub(crate) fn is_chain(&self) -> bool {
        let chained = |steps: &[Step]| steps.windows(2).all(|w| w[1].after.contains(&w[0].name));
        chained(&self.steps) && chained(&self.finally) && chained(&self.part)
    }

    /// The workflows by name.
    pub(crate) fn workflows(&self) -> Vec<(&'static str, Value)> {
        let list = |steps: &[Step]| steps.iter().map(|s| self.spec(s)).collect::<Vec<_>>();
        let mut all = Vec::new();
        if !self.part.is_empty() {
            all.push(("part", json!({ "steps": list(&self.part) })));
        }
        let mut spec = json!({ "steps": list(&self.steps) });
        if !self.finally.is_empty() {
            spec["finally"] = list(&self.finally).into();
        }
        if self.workspace && self.steps.iter().any(|s| s.act == Act::Container) {
            spec["workspace"] = json!({ "size": "1Gi" });
        }
        if self.deadline > 0 {
            spec["deadline"] = format!("{}s", self.deadline).into();
        }
        all.push(("flow", spec));
        all
    }

    fn spec(&self, step: &Step) -> Value {
        let mut spec = json!({ "name": step.name });
        if !step.after.is_empty() {
            spec["after"] = json!(step.after);
        }
        if let Some(holds) = step.when {
            spec["when"] = if holds { "run.name != ''" } else { "run.name == ''" }.into();
        }
        match step.act {
            Act::Call => spec["call"] = call(&format!("/{}", step.name), step.once),
            Act::Container => spec["container"] = json!({ "image": "localhost/tool:1" }),
            Act::Transform => spec["transform"] = json!({ "expression": self.sum(step) }),
            Act::Wait(secs) => spec["wait"] = json!({ "for": format!("{secs}s") }),
            Act::Child => spec["workflow"] = json!({ "name": "part" }),
        }
        if matches!(step.act, Act::Call | Act::Container | Act::Child) {
            spec["timeout"] = format!("{}s", step.timeout.unwrap_or(7200)).into();
        }
        if self.slots > 0 && step.holds_slots() {
            spec["holds"] = json!({ "slots": "1" });
        }
        if step.act == Act::Container && step.once {
            spec["safety"] = "AtMostOnce".into();
        }
        if step.act == Act::Container && step.interruptible {
            spec["interruptible"] = true.into();
        }
        if let Some(retry) = &step.retry {
            spec["retry"] = json!({ "limit": retry.limit });
            if !(step.each.is_some() && step.act == Act::Container) {
                spec["retry"]["backoff"] = json!({ "initial": "2s" });
                if !retry.errors.is_empty() {
                    spec["retry"]["errors"] = json!(retry.errors);
                }
            }
        }
        if let Some(each) = &step.each {
            spec["forEach"] = json!({ "count": each.count, "tolerate": each.tolerate.to_string() });
            if step.act != Act::Transform {
                spec["forEach"]["maxParallel"] = each.parallel.into();
            }
        }
        if step.has_output() {
            let value = match step.act {
                Act::Call => "result.body.n",
                Act::Transform => "result",
                _ => "result.n",
            };
            spec["outputs"] = json!([{ "name": "n", "type": "Integer", "value": value }]);
        }
        if let Some(undo) = &step.undo {
            spec["compensate"] = if undo.container {
                json!({ "container": { "image": "localhost/tool:1" }, "timeout": "7200s" })
            } else {
                json!({ "call": call(&format!("/{}/undo", step.name), false), "timeout": "7200s" })
            };
            spec["compensate"]["retry"] = json!({ "limit": 3, "backoff": { "initial": "2s" } });
        }
        spec
    }

    /// Adds up what the steps before a transform have given.
    fn sum(&self, step: &Step) -> String {
        let known = |name: &&String| self.step(name).is_some_and(Step::has_output);
        step.after.iter().filter(known).fold("1".to_owned(), |sum, name| format!("{sum} + steps.{name}.outputs.n"))
    }
}

impl Step {
    /// Whether it surely has the output `n` when it is done.
    pub(crate) fn has_output(&self) -> bool {
        let gives = matches!(self.act, Act::Call | Act::Container | Act::Transform);
        gives && self.each.is_none() && self.when.is_none() && !self.once
    }

    /// Whether it can hold slots.
    pub(crate) fn holds_slots(&self) -> bool {
        match self.act {
            Act::Container | Act::Wait(_) => true,
            Act::Call => self.each.is_none(),
            Act::Transform | Act::Child => false,
        }
    }

    /// What the service or the container gives, where it gives something.
    pub(crate) fn result(&self) -> Value {
        json!({ "n": self.name.len() })
    }

    /// How an attempt, from 1, of an item fares.
    pub(crate) fn fare(&self, item: Option<u32>, attempt: u32) -> Fare {
        let well = Fare::Well(300);
        if let (Some(each), Some(item)) = (&self.each, item)
            && !each.bad.iter().any(|&i| u32::from(i) == item)
        {
            return well;
        }
        nth(&self.fares, attempt).unwrap_or(well)
    }
}

/// The fare of an attempt, from 1.
pub(crate) fn nth(fares: &[Fare], attempt: u32) -> Option<Fare> {
    fares.get(attempt.saturating_sub(1) as usize).or(fares.last()).copied()
}

fn call(path: &str, once: bool) -> Value {
    let mut http = json!({ "path": path });
    if once {
        http["method"] = "POST".into();
    }
    json!({ "service": "archive", "http": http })
}
