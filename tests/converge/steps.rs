//! Steps of workflows, written as they are spoken.

use serde_json::{Value, json};

/// A step under construction.
#[derive(Clone)]
pub(crate) struct Step(Value);

/// A GET to the service `archive`, at a path that is the step's name.
pub(crate) fn call(name: &str) -> Step {
    Step(json!({"name": name, "call": {"service": "archive", "http": {"path": format!("/{name}")}}}))
}

/// A POST, which may take effect once at most.
pub(crate) fn post(name: &str) -> Step {
    let mut step = call(name);
    step.0["call"]["http"]["method"] = "POST".into();
    step
}

/// A request to the FHIR service `ehr`.
pub(crate) fn fhir(name: &str, interaction: Value) -> Step {
    Step(json!({"name": name, "call": {"service": "ehr", "fhir": interaction}}))
}

/// A pod.
pub(crate) fn container(name: &str) -> Step {
    Step(json!({"name": name, "container": {"image": "localhost/tool:1"}}))
}

/// A computed value.
pub(crate) fn transform(name: &str, expression: &str) -> Step {
    Step(json!({"name": name, "transform": {"expression": expression}}))
}

/// Another workflow.
pub(crate) fn child(name: &str, workflow: &str, parameters: Value) -> Step {
    Step(json!({"name": name, "workflow": {"name": workflow, "parameters": parameters}}))
}

/// A GET to the service `archive`, as what undoes a step.
pub(crate) fn get(path: &str) -> Value {
    json!({"call": {"service": "archive", "http": {"path": path}}})
}

impl Step {
    /// A step as the spec has it.
    pub(crate) fn of(spec: Value) -> Self {
        Self(spec)
    }

    pub(crate) fn undone_by(self, action: Value) -> Self {
        self.with("compensate", action)
    }

    pub(crate) fn with(mut self, field: &str, value: Value) -> Self {
        self.0[field] = value;
        self
    }

    pub(crate) fn after(self, steps: &[&str]) -> Self {
        self.with("after", json!(steps))
    }

    pub(crate) fn when(self, expression: &str) -> Self {
        self.with("when", json!(expression))
    }

    pub(crate) fn timeout(self, span: &str) -> Self {
        self.with("timeout", json!(span))
    }

    /// Retries after 10 s, 20 s, 40 s, … without chance.
    pub(crate) fn retries(self, limit: u8) -> Self {
        self.with("retry", json!({"limit": limit, "backoff": {"initial": "10s", "factor": 2, "jitter": 0}}))
    }

    pub(crate) fn output(self, name: &str, kind: &str, value: &str) -> Self {
        self.with("outputs", json!([{"name": name, "type": kind, "value": value}]))
    }

    /// Done for each of these.
    pub(crate) fn each(self, for_each: Value) -> Self {
        self.with("forEach", for_each)
    }

    /// Asks for this path.
    pub(crate) fn path(mut self, path: &str) -> Self {
        self.0["call"]["http"]["path"] = path.into();
        self
    }

    /// The step as the spec has it.
    pub(crate) fn step(self) -> Value {
        self.0
    }
}

/// call → transform → container → call, each with time enough for troubled days.
pub(crate) fn story() -> Vec<Value> {
    vec![
        call("count").timeout("1h").output("images", "Integer", "result.body.images").step(),
        transform("double", "{\"all\": steps.count.outputs.images * 2}")
            .after(&["count"])
            .output("all", "Integer", "result.all")
            .step(),
        container("measure").after(&["double"]).output("noise", "Integer", "result.noise").step(),
        call("record").timeout("1h").after(&["measure"]).step(),
    ]
}
