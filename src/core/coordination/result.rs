//! From an action's result to the step's outputs.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    api::workflow_run::StepStatus,
    core::{
        coordination::{definition::OutputDefinition, parameters},
        expression::Variables,
    },
};

/// Largest sum of a run's outputs, in bytes of JSON: a status must fit into one etcd value beside everything else.
pub const MAX_RUN_OUTPUTS: usize = 256 * 1024;

/// The outputs that a result gives.
///
/// # Errors
/// What does not fit what the step declares; no value is repeated in the message.
pub fn outputs(
    declared: &[OutputDefinition],
    mut variables: Variables,
    result: Value,
) -> Result<BTreeMap<String, Value>, String> {
    variables.insert("result".to_owned(), result);
    let mut values = BTreeMap::new();
    for output in declared {
        let value = output.value.evaluate(&variables).map_err(|e| format!("output `{}`: {e}", output.name))?;
        parameters::kind(output.kind, &value).map_err(|e| format!("output `{}` {e}", output.name))?;
        values.insert(output.name.clone(), value);
    }
    Ok(values)
}

/// A container's result: the JSON object in its termination message; empty when there is none and none is needed.
///
/// # Errors
/// When outputs are declared and the message is not a JSON object.
pub fn of_container(message: &str, declared: &[OutputDefinition]) -> Result<Value, String> {
    if declared.is_empty() {
        return Ok(Value::Null);
    }
    match serde_json::from_str::<Value>(message) {
        Ok(value @ Value::Object(_)) => Ok(value),
        _ => Err("the container must write a JSON object of at most 4096 bytes to its termination message (/dev/termination-log)"
            .to_owned()),
    }
}

/// What a step's outputs and the record of its items take of a status, in bytes of JSON.
#[must_use]
pub fn footprint(step: &StepStatus) -> usize {
    // both are plain data: they can always be written as JSON
    let items = step.items.as_ref().and_then(|i| serde_json::to_string(i).ok());
    size(&step.outputs) + items.map_or(0, |text| text.len())
}

/// Size of outputs in bytes of JSON.
#[must_use]
pub fn size(outputs: &BTreeMap<String, Value>) -> usize {
    outputs.iter().map(|(k, v)| k.len() + v.to_string().len() + 4).sum()
}
