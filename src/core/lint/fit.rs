//! Does an object fit its kind's schema and CEL rules? The API server's judgement, in words that need no path before them.

use medley_schema::Cause;
use serde_json::Value;

use super::{
    fields,
    finding::{Findings, Severity},
    metadata,
    object::{Kinds, Object, Spec},
};
use crate::core::suggest::nearest;

/// Reports what does not fit; reads the spec when all of it does.
pub(super) fn check(object: &mut Object, kinds: &Kinds, findings: &mut Findings) {
    let Some(schema) = kinds.schema(&object.kind) else { return };
    metadata::check(object, findings);
    let mut unknown = Vec::new();
    fields::unknown(schema.tree(), &object.value, "", &mut unknown);
    for field in unknown {
        let place = (object.file, object.node.find_key(&field.path));
        findings.add(place, Severity::Error, "unknown-field", &field.path, field.message);
    }
    if object.node.get("status").is_some() {
        let place = (object.file, object.node.find_key("status"));
        let message = "is written by medley and ignored when an object is applied: remove it from the file";
        findings.add(place, Severity::Warning, "unknown-field", "status", message);
    }
    let mut settled = object.value.clone();
    if let Some(map) = settled.as_object_mut() {
        map.remove("status");
    }
    schema.settle(&mut settled, false);
    let mut causes = Vec::new();
    schema.judge(&settled, None, false, &mut causes);
    let causes: Vec<Told> = causes.iter().filter_map(told).collect();
    for cause in causes.iter().filter(|c| !c.is_said_better(&causes)) {
        findings.at(object, Severity::Error, cause.rule, &cause.field, cause.message.clone());
    }
    object.spec = read(object, &settled, causes.is_empty(), findings);
}

fn read(object: &Object, settled: &Value, fits: bool, findings: &mut Findings) -> Spec {
    let spec = settled["spec"].clone();
    let result = match object.kind.as_str() {
        "CapacityPool" => serde_json::from_value(spec).map(Spec::CapacityPool),
        "ServicePolicy" => serde_json::from_value(spec).map(Spec::ServicePolicy),
        "ServiceQuery" => serde_json::from_value(spec).map(Spec::ServiceQuery),
        "MedicalService" => serde_json::from_value(spec).map(Spec::MedicalService),
        "Workflow" => serde_json::from_value(spec).map(Spec::Workflow),
        _ => serde_json::from_value(spec).map(Spec::WorkflowRun),
    };
    result.unwrap_or_else(|error| {
        // what the schema has told is not told again in other words
        if fits {
            findings.at(object, Severity::Error, "schema", "spec", error.to_string());
        }
        Spec::Unreadable
    })
}

/// A cause as it is shown.
#[derive(Debug, PartialEq)]
struct Told {
    field: String,
    rule: &'static str,
    reason: &'static str,
    message: String,
}

impl Told {
    /// A pattern is hard to read: where a rule says the same in words, they suffice. Of a value of the wrong type nothing
    /// else matters.
    fn is_said_better(&self, all: &[Self]) -> bool {
        let others = || all.iter().filter(|c| c.field == self.field && *c != self);
        let wrong_type =
            self.reason != "FieldValueTypeInvalid" && others().any(|c| c.reason == "FieldValueTypeInvalid");
        wrong_type || (self.message.starts_with("should match") && others().any(|c| c.rule == "rule"))
    }
}

/// A cause without the server's way of repeating value and path; nothing where it only says that rules were not asked.
fn told(cause: &Cause) -> Option<Told> {
    if cause.message.contains("some validation rules were not checked") {
        return None;
    }
    let mut field = if cause.field == "<nil>" { String::new() } else { cause.field.clone() };
    let shown = cause.message.strip_prefix("Invalid value: ").unwrap_or(&cause.message);
    let mut message = after_value(shown).unwrap_or(shown).to_owned();
    // rules of the whole object, and formats, name the field in their text
    if let Some((path, rest)) = message.split_once(": ").filter(|(p, _)| field.is_empty() && p.starts_with("metadata."))
    {
        (field, message) = (path.to_owned(), rest.to_owned());
    }
    if let Some((rest, path)) = message.clone().rsplit_once(" in ").filter(|(_, p)| field.is_empty() && p.contains('.'))
    {
        (field, message) = (path.to_owned(), rest.to_owned());
    }
    let structural = message.strip_prefix(&format!("{field} in body ")).map(str::to_owned);
    let from_structure = structural.is_some() || cause.reason != "FieldValueInvalid";
    let message = structural.unwrap_or(message);
    let message = match cause.reason {
        "FieldValueRequired" => "is required: add it".to_owned(),
        "FieldValueTypeInvalid" => message.replacen(": \"", ", and is \"", 1).replace('"', ""),
        "FieldValueNotSupported" => supported(&message),
        _ => message,
    };
    let rule = if from_structure { "schema" } else { "rule" };
    Some(Told { field, rule, reason: cause.reason, message })
}

/// The text after a JSON value and `: `.
fn after_value(text: &str) -> Option<&str> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    values.next()?.ok()?;
    text.get(values.byte_offset()..)?.strip_prefix(": ")
}

/// `Unsupported value: "x": supported values: "A", "B"`, with the one that was meant.
fn supported(message: &str) -> String {
    let text = message.strip_prefix("Unsupported value: ").unwrap_or(message);
    let Some((given, list)) = after_value(text).and_then(|l| Some((text.split(": ").next()?, l))) else {
        return message.to_owned();
    };
    let list = list.strip_prefix("supported values: ").unwrap_or(list).replace('"', "");
    let word = given.trim_matches('"');
    match nearest(word, list.split(", ")) {
        Some(near) => format!("{given} is none of {list}; did you mean {near}?"),
        None => format!("{given} is none of {list}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(reason: &'static str, field: &str, message: &str) -> (String, String) {
        let told = told(&Cause::new(reason, field, message)).unwrap();
        (told.field, told.message)
    }

    #[test]
    fn the_servers_words_are_made_short() {
        for (reason, field, message, want_field, want) in [
            ("FieldValueRequired", "spec.a", "Required value", "spec.a", "is required: add it"),
            (
                "FieldValueTypeInvalid",
                "spec.a",
                "Invalid value: \"integer\": spec.a in body must be of type string: \"integer\"",
                "spec.a",
                "must be of type string, and is integer",
            ),
            (
                "FieldValueNotSupported",
                "spec.a",
                "Unsupported value: \"rutine\": supported values: \"batch\", \"routine\"",
                "spec.a",
                "\"rutine\" is none of batch, routine; did you mean routine?",
            ),
            ("FieldValueInvalid", "spec.a", "Invalid value: \"x: y\": must be z: not x", "spec.a", "must be z: not x"),
            ("FieldValueInvalid", "", "Invalid value: metadata.name: must be short", "metadata.name", "must be short"),
            (
                "FieldValueInvalid",
                "spec",
                "Invalid value: exactly one of a and b must be set",
                "spec",
                "exactly one of a and b must be set",
            ),
        ] {
            assert_eq!(words(reason, field, message), (want_field.to_owned(), want.to_owned()));
        }
    }
}
