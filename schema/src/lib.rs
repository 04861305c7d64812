//! Does an object fit a custom resource's structural schema and its CEL rules (`x-kubernetes-validations`)?
//!
//! Unknown fields are pruned, missing ones defaulted, and the result is judged by structure and by rules, in the order and
//! words of the API server. Pure: used by `medley lint` and by the in-process API server of the tests.

mod cause;
mod keys;
mod reads;
mod rules;
mod structure;

use serde_json::Value;

pub use cause::Cause;
pub use keys::key_step;
use rules::Rules;

/// The structural schema of a custom resource, with its compiled rules.
#[derive(Debug)]
pub struct Schema {
    tree: Value,
    has_defaults: bool,
    rules: Rules,
}

impl Schema {
    /// A schema of which every rule must be one that the engine knows.
    ///
    /// # Errors
    /// A CEL rule that the engine cannot compile, named with its text.
    pub fn new(tree: Value) -> Result<Self, String> {
        let (rules, refused) = Rules::compile(&tree, false);
        match refused.into_iter().next() {
            Some(problem) => Err(problem),
            None => Ok(Self { has_defaults: mentions_default(&tree), rules, tree }),
        }
    }

    /// As `new`, but a rule that the engine cannot compile or evaluate is not asked, so that it is no violation.
    #[must_use]
    pub fn lenient(tree: Value) -> Self {
        let (rules, _) = Rules::compile(&tree, true);
        Self { has_defaults: mentions_default(&tree), rules, tree }
    }

    /// The object as the server stores it: unknown fields dropped, defaults filled in. A null in a place that cannot be
    /// null is dropped too, unless it came by server-side apply, which keeps (and then refuses) it.
    pub fn settle(&self, object: &mut Value, keep_nulls: bool) {
        prune(object, &self.tree, true, keep_nulls);
        if self.has_defaults {
            fill(object, &self.tree);
        }
    }

    /// The schema itself.
    #[must_use]
    pub fn tree(&self) -> &Value {
        &self.tree
    }

    /// Appends everything wrong with `object`. What was already so in the same place of `old` is tolerated (ratcheting).
    /// Of a write to `/status` the structure of the status alone is judged, but every rule.
    pub fn judge(&self, object: &Value, old: Option<&Value>, status_only: bool, causes: &mut Vec<Cause>) {
        if status_only {
            structure::status(&self.tree, object, old, causes);
        } else {
            structure::structure(&self.tree, object, old, causes);
        }
        if !causes.iter().any(Cause::blocks_rules) {
            self.rules.check(object, old, causes);
        } else if !self.rules.is_empty() {
            let message = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";
            causes.push(Cause::invalid("", &Value::Null, message));
        }
    }
}

fn mentions_default(schema: &Value) -> bool {
    match schema {
        Value::Object(map) => map.contains_key("default") || map.values().any(mentions_default),
        Value::Array(items) => items.iter().any(mentions_default),
        _ => false,
    }
}

/// Fills in defaults, those inside a default too.
fn fill(value: &mut Value, schema: &Value) {
    match value {
        Value::Object(map) => {
            for (name, sub) in schema["properties"].as_object().into_iter().flatten() {
                if let Some(default) = sub.get("default") {
                    map.entry(name.clone()).or_insert_with(|| default.clone());
                }
                if let Some(child) = map.get_mut(name) {
                    fill(child, sub);
                }
            }
            if schema["additionalProperties"].is_object() {
                let known = |name: &str| schema["properties"].get(name).is_some();
                for (_, child) in map.iter_mut().filter(|(name, _)| !known(name)) {
                    fill(child, &schema["additionalProperties"]);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| fill(item, &schema["items"])),
        _ => {}
    }
}

fn prune(value: &mut Value, schema: &Value, root: bool, keep_nulls: bool) {
    match value {
        Value::Object(map) => {
            let properties = schema["properties"].as_object();
            let additional = &schema["additionalProperties"];
            let keeps_unknown = schema["x-kubernetes-preserve-unknown-fields"] == true;
            let embedded = root || schema["x-kubernetes-embedded-resource"] == true;
            map.retain(|name, child| {
                if embedded && matches!(name.as_str(), "apiVersion" | "kind" | "metadata") {
                    return true;
                }
                let known = properties.and_then(|p| p.get(name));
                let sub = match (known, additional) {
                    (Some(sub), _) => sub,
                    (None, Value::Object(_)) => additional,
                    (None, Value::Bool(true)) => return true,
                    (None, _) => return keeps_unknown,
                };
                if child.is_null() {
                    // A null in a place that cannot be null is as good as absent.
                    return keep_nulls || sub["nullable"] == true;
                }
                prune(child, sub, false, keep_nulls);
                true
            });
        }
        Value::Array(items) => {
            for item in items {
                prune(item, &schema["items"], false, keep_nulls);
            }
        }
        _ => {}
    }
}
