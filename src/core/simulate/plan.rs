//! What the world does: how long each step works, which attempts fail and how, and what outputs come of them.

use std::{collections::BTreeMap, str::FromStr, time::Duration};

use serde_json::{Value, json};

use crate::{
    api::{self, vocabulary::ErrorClass, workflow::ValueType},
    core::{
        coordination::{
            definition::{Action, Definition, FanOut, Items, OutputDefinition, StepDefinition},
            dicom::{DicomDefinition, Question},
            fan_out::indexes::MAX_ITEMS,
            request::RequestDefinition,
            view::Attempt,
        },
        expression::Expression,
        name::chance,
        suggest::nearest,
    },
};

/// How long a call takes where the plan does not say.
const CALL: Duration = Duration::from_millis(200);
/// How long a container works where the plan does not say.
const CONTAINER: Duration = Duration::from_secs(10);
/// How long a child run takes where the plan does not say.
const CHILD: Duration = Duration::from_secs(60);

/// From a shortest to a longest time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Shortest.
    pub from: Duration,
    /// Longest.
    pub to: Duration,
}

impl FromStr for Span {
    type Err = String;

    /// `5s`, or `5s..20s`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (from, to) = text.split_once("..").unwrap_or((text, text));
        let read = |t: &str| t.parse::<api::Span>().map(api::Span::duration).map_err(|e| e.to_string());
        let (from, to) = (read(from)?, read(to)?);
        if from > to { Err(format!("`{text}` ends before it begins")) } else { Ok(Self { from, to }) }
    }
}

/// Attempts that fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failing {
    /// How.
    pub class: ErrorClass,
    /// How many attempts, from the first; all when `None`.
    pub times: Option<u32>,
}

impl FromStr for Failing {
    type Err = String;

    /// `Timeout`, or `Timeout:2`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (word, times) = text.split_once(':').map_or((text, None), |(word, times)| (word, Some(times)));
        let class = serde_json::from_value(json!(word)).map_err(|_| {
            let all: Vec<String> = ErrorClass::ALL.iter().map(|c| format!("{c:?}")).collect();
            match nearest(word, all.iter().map(String::as_str)) {
                Some(near) => format!("there is no kind of failure `{word}`; did you mean {near}?"),
                None => format!("there is no kind of failure `{word}`; there are {}", all.join(", ")),
            }
        })?;
        let times = match times.map(str::parse::<u32>) {
            None => None,
            Some(Ok(n)) if n > 0 => Some(n),
            Some(_) => return Err(format!("`{text}`: after the colon comes how many attempts fail, such as {word}:2")),
        };
        Ok(Self { class, times })
    }
}

/// What the world does. Steps go by their name, what undoes one by `<name>.compensate`, one item of a step by `<name>[3]`; what is
/// said of one item counts before what is said of all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// How long an attempt works.
    pub durations: BTreeMap<String, Span>,
    /// Which attempts fail.
    pub failures: BTreeMap<String, Failing>,
    /// Values of outputs, by step and output.
    pub outputs: BTreeMap<(String, String), Value>,
    /// Decides what is left to chance: a duration within its span, the jitter of retries.
    pub seed: u64,
}

impl Plan {
    /// Whether the workflow has all that the plan names.
    ///
    /// # Errors
    /// What it does not have.
    pub(super) fn check(&self, definition: &Definition) -> Result<(), String> {
        let steps: BTreeMap<String, &StepDefinition> = definition.every_step().map(|s| (s.id(), s)).collect();
        let find = |id: &String| {
            steps.get(id).copied().ok_or_else(|| {
                let meant = nearest(id, steps.keys().map(String::as_str));
                let meant = meant.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
                format!("the workflow has no step `{id}`{meant}")
            })
        };
        for id in self.durations.keys() {
            let (id, item) = one_item(id)?;
            let step = find(&id)?;
            check_item(step, item)?;
            if !step.action.works() {
                return Err(format!(
                    "the step `{id}` takes no time that could be given: a transform takes none, and a wait as long as it says"
                ));
            }
        }
        for (id, failing) in &self.failures {
            let (id, item) = one_item(id)?;
            let step = find(&id)?;
            check_item(step, item)?;
            let possible = possible(step);
            if !possible.contains(&failing.class) {
                let all: Vec<String> = possible.iter().map(|c| format!("{c:?}")).collect();
                let all = if all.is_empty() {
                    "cannot fail by itself".to_owned()
                } else {
                    format!("can fail with {}", all.join(", "))
                };
                return Err(format!("the step `{id}` cannot fail with {:?}: it {all}", failing.class));
            }
        }
        for (id, output) in self.outputs.keys() {
            let step = find(id)?;
            if !step.outputs.iter().any(|o| o.name == *output) {
                let meant = nearest(output, step.outputs.iter().map(|o| o.name.as_str()));
                let meant = meant.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
                return Err(format!("the step `{id}` declares no output `{output}`{meant}"));
            }
            if !step.action.works() || step.fan_out.is_some() || is_echo(step) || is_message(step) {
                return Err(format!("the outputs of `{id}` are computed, and cannot be given"));
            }
        }
        Ok(())
    }

    /// The definition with the outputs of what works elsewhere taken from the plan: nobody knows what a service answers.
    pub(super) fn prepared(&self, mut definition: Definition) -> Definition {
        for step in definition.steps.iter_mut().chain(&mut definition.finally) {
            if step.fan_out.is_some() {
                continue; // they follow from the counts of its items
            }
            let place = match &step.action {
                Action::Call(call) => match call.request {
                    RequestDefinition::Http(_) => "result.body",
                    // beside the resource type, which the operator looks at
                    RequestDefinition::Fhir(_) => "result.resource.simulated",
                    RequestDefinition::Dicom(DicomDefinition { ask: Question::Find(_), .. }) => "result.matches[0]",
                    // its result is known
                    RequestDefinition::Hl7v2(_) | RequestDefinition::Dicom(_) => continue,
                },
                Action::Container(_) | Action::Child(_) => "result",
                Action::Transform(_) | Action::Wait(_) => continue,
            };
            for output in &mut step.outputs {
                if let Ok(value) = Expression::compile(&format!("{place}.{}", output.name)) {
                    output.value = value;
                }
            }
        }
        definition
    }

    /// The values of a step's outputs.
    pub(super) fn values(&self, step: &StepDefinition) -> BTreeMap<String, Value> {
        let value = |o: &OutputDefinition| {
            let given = self.outputs.get(&(step.id(), o.name.clone())).cloned();
            (o.name.clone(), given.unwrap_or_else(|| usual(o.kind)))
        };
        step.outputs.iter().map(value).collect()
    }

    /// How long an attempt works.
    pub(super) fn duration(&self, step: &StepDefinition, attempt: &Attempt) -> Duration {
        let usual = match step.action {
            Action::Call(_) => CALL,
            Action::Container(_) => CONTAINER,
            Action::Child(_) => CHILD,
            Action::Transform(_) | Action::Wait(_) => Duration::ZERO,
        };
        let Some(Span { from, to }) = of(&self.durations, attempt).copied() else { return usual };
        if from == to {
            return from;
        }
        let (seed, number) = (self.seed.to_string(), attempt.number.to_string());
        let part = match attempt.index {
            None => chance(&[&seed, &attempt.step, &number]),
            Some(index) => chance(&[&seed, &attempt.step, &number, &index.to_string()]),
        };
        // whole milliseconds: that is how times are shown
        let extra = (to - from).mul_f64(part).as_millis();
        from + Duration::from_millis(u64::try_from(extra).unwrap_or(u64::MAX))
    }

    /// How an attempt fails; `None` when it does not.
    pub(super) fn failure(&self, attempt: &Attempt) -> Option<ErrorClass> {
        let failing = of(&self.failures, attempt)?;
        failing.times.is_none_or(|times| attempt.number <= times).then_some(failing.class)
    }
}

/// What is said of an attempt: of its item, or of all.
fn of<'p, T>(all: &'p BTreeMap<String, T>, attempt: &Attempt) -> Option<&'p T> {
    if all.is_empty() {
        return None;
    }
    let of_item = attempt.index.and_then(|index| all.get(&format!("{}[{index}]", attempt.step)));
    of_item.or_else(|| all.get(&attempt.step))
}

/// `read[3]` as the step and the number of its item.
fn one_item(id: &str) -> Result<(String, Option<u32>), String> {
    let Some((step, rest)) = id.split_once('[') else { return Ok((id.to_owned(), None)) };
    match rest.strip_suffix(']').and_then(|n| n.parse::<u32>().ok()).filter(|n| *n < MAX_ITEMS) {
        Some(index) => Ok((step.to_owned(), Some(index))),
        None => Err(format!("`{id}`: in brackets comes the number of an item, from 0 to {}", MAX_ITEMS - 1)),
    }
}

fn check_item(step: &StepDefinition, item: Option<u32>) -> Result<(), String> {
    match (item, &step.fan_out) {
        (Some(_), None) => Err(format!("the step `{}` has no forEach, so it has no items", step.id())),
        (Some(index), Some(FanOut { items: Items::Count(count), .. })) if index >= *count => {
            Err(format!("the step `{}` has {count} items, from 0: there is no item {index}", step.id()))
        }
        _ => Ok(()),
    }
}

/// What an output is where nobody says.
fn usual(kind: ValueType) -> Value {
    match kind {
        ValueType::String => json!("simulated"),
        ValueType::Integer => json!(1),
        ValueType::Number => json!(1.0),
        ValueType::Boolean => json!(true),
        ValueType::Object => json!({}),
    }
}

/// Whether it sends C-ECHO.
fn is_echo(step: &StepDefinition) -> bool {
    matches!(question(step), Some(Question::Echo))
}

/// What it asks a DICOM service.
fn question(step: &StepDefinition) -> Option<&Question> {
    match &step.action {
        Action::Call(call) => match &call.request {
            RequestDefinition::Dicom(dicom) => Some(&dicom.ask),
            _ => None,
        },
        _ => None,
    }
}

/// Whether a step sends an HL7 message: its result is an acknowledgement.
fn is_message(step: &StepDefinition) -> bool {
    matches!(&step.action, Action::Call(c) if matches!(c.request, RequestDefinition::Hl7v2(_)))
}

/// How a step can fail by what the world does.
fn possible(step: &StepDefinition) -> Vec<ErrorClass> {
    use ErrorClass as E;
    let asked = question(step).is_some();
    let mut all = match step.action {
        Action::Call(_) if asked => {
            let mut all =
                vec![E::Connection, E::Timeout, E::Overloaded, E::Rejected, E::InvalidResult, E::Configuration];
            all.extend((!is_echo(step)).then_some(E::ServerError));
            all
        }
        Action::Call(_) => vec![E::Connection, E::Timeout, E::Overloaded, E::ServerError, E::Rejected],
        Action::Container(_) => vec![E::Timeout, E::ContainerFailed, E::PodNotStarted, E::PodLost],
        Action::Child(_) => vec![E::Timeout, E::ChildFailed],
        Action::Transform(_) | Action::Wait(_) => Vec::new(),
    };
    // a FHIR server's answer can be no FHIR, and a receiver's no acknowledgement
    let is_fhir = matches!(&step.action, Action::Call(c) if matches!(c.request, RequestDefinition::Fhir(_)));
    // the outputs of a step with forEach come from its counts
    let unfit = is_fhir || is_message(step) || (!step.outputs.is_empty() && step.fan_out.is_none());
    if step.action.works() && !asked && unfit {
        all.push(E::InvalidResult);
    }
    all
}
