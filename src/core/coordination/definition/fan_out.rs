//! Reads `forEach`, and holds what the API server's rules hold: revisions may be older than a rule.

use std::collections::BTreeSet;

use super::{Action, FanOut, Items, Tolerance, reader::Reader, scope::Scope};
use crate::{
    api::{fan_out::ForEach, step::Step},
    core::expression::Template,
};

/// Items of a step that may be under way together where it does not say.
const PARALLEL: u16 = 10;
/// Variables of a fan-out's container that medley sets: the number of the item, and all items as JSON.
pub const INDEX_VARIABLE: &str = "JOB_COMPLETION_INDEX";
/// See [`INDEX_VARIABLE`].
pub const ITEMS_VARIABLE: &str = "MEDLEY_ITEMS";

impl Reader<'_> {
    pub(super) fn fan_out(&mut self, at: &str, each: &ForEach, known: &BTreeSet<String>) -> Option<FanOut> {
        let items = match (&each.items, each.count) {
            (Some(text), None) => Items::Of(self.expression(&format!("{at}.items"), text, known, Scope::Flow)?),
            (None, Some(count)) => Items::Count(u32::from(count)),
            _ => {
                self.fault(at.to_owned(), "exactly one of items and count must be set");
                return None;
            }
        };
        let tolerate = match &each.tolerate {
            None => Tolerance::Count(0),
            Some(text) => {
                let read = Tolerance::parse(text);
                if read.is_none() {
                    self.fault(
                        format!("{at}.tolerate"),
                        "must be a number such as \"3\" or a percentage such as \"5%\"",
                    );
                }
                read?
            }
        };
        Some(FanOut { items, parallel: u32::from(each.max_parallel.unwrap_or(PARALLEL)), tolerate })
    }

    /// What an action cannot be when it is done for many items.
    pub(super) fn check_fan_out(&mut self, at: &str, step: &Step, action: &Action) {
        match action {
            Action::Wait(_) => self.fault(format!("{at}.forEach"), "wait cannot be done for each item: remove forEach"),
            Action::Container(container) => {
                if container.env.iter().any(|(name, _)| [INDEX_VARIABLE, ITEMS_VARIABLE].contains(&name.as_str())) {
                    let message = format!("{INDEX_VARIABLE} and {ITEMS_VARIABLE} are set by medley: rename yours");
                    self.fault(format!("{at}.container.env"), message);
                }
                if step.safety == Some(crate::api::Safety::AtMostOnce) {
                    let message = "a Job may start a pod twice, so AtMostOnce cannot be held with forEach: remove it";
                    self.fault(format!("{at}.safety"), message);
                }
                if step.retry.as_ref().is_some_and(|r| r.backoff.is_some() || !r.errors.is_empty()) {
                    let message = "with forEach the Job controller decides on backoff and errors: remove both";
                    self.fault(format!("{at}.retry"), message);
                }
            }
            Action::Call(_) | Action::Transform(_) | Action::Child(_) => {}
        }
    }

    /// A text of a fan-out's container: the kubelet puts the index in, since all pods have one template.
    pub(super) fn indexed(&mut self, field: &str, template: Template) -> Option<Template> {
        let template = template.with_text("index", &format!("$({INDEX_VARIABLE})"));
        let message = match template.references().variables {
            v if v.contains("item") => format!(
                "`item` cannot be used in a container, since all its pods are made from one template: read the item at \
                 $( index ) from the variable {ITEMS_VARIABLE}, which holds all items as a JSON list"
            ),
            v if v.contains("index") => {
                "in a container `index` can only stand alone, as $( index ), since the kubelet puts it in: compute in the \
                 program, or in a transform before"
                    .to_owned()
            }
            _ => return Some(template),
        };
        self.fault(field.to_owned(), message);
        None
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::core::coordination::Definition;

    fn faults(steps: Value) -> Vec<String> {
        let read = Definition::parse(&serde_json::from_value(json!({ "steps": steps })).unwrap());
        read.err().unwrap_or_default().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_item_is_seen_by_the_action_alone() {
        let call = |path: &str| json!({"service": "s", "http": {"path": path}});
        let each = json!({"items": "[1, 2]"});
        assert_eq!(
            faults(json!([{"name": "a", "forEach": each, "call": call("/$( item )/$( index )")}])),
            Vec::<String>::new()
        );
        for (step, field) in [
            (json!({"name": "a", "call": call("/$( item )")}), "spec.steps[0].call.http.path"),
            (json!({"name": "a", "forEach": each, "when": "item > 1", "call": call("/")}), "spec.steps[0].when"),
            (json!({"name": "a", "forEach": {"items": "[item]"}, "call": call("/")}), "spec.steps[0].forEach.items"),
            (
                json!({"name": "a", "forEach": each, "call": call("/"), "compensate": {"call": call("/$( index )")}}),
                "spec.steps[0].compensate.call.http.path",
            ),
            (
                json!({"name": "a", "forEach": each, "call": call("/"),
                    "outputs": [{"name": "x", "type": "Integer", "value": "index"}]}),
                "spec.steps[0].outputs[0].value",
            ),
        ] {
            let faults = faults(json!([step]));
            assert!(faults.len() == 1 && faults[0].starts_with(field), "{field}: {faults:?}");
        }
    }

    #[test]
    fn a_container_gets_its_index_from_the_kubelet_and_its_item_from_a_variable() {
        let step = |arg: &str| json!([{"name": "a", "forEach": {"items": "[1, 2]"}, "container": {"image": "i", "args": [arg]}}]);
        assert_eq!(faults(step("--part=$( index )")), Vec::<String>::new());
        assert_eq!(faults(step("$(JOB_COMPLETION_INDEX)/$(MEDLEY_ITEMS)")), Vec::<String>::new());
        let env = |value: &str| {
            json!([{"name": "a", "forEach": {"items": "[1, 2]"},
            "container": {"image": "i", "env": [{"name": "PART", "value": value}]}}])
        };
        assert_eq!(faults(env("part-$( index )")), Vec::<String>::new());
        let [item] = &faults(env("$( item )"))[..] else { panic!("it is refused once") };
        assert!(item.starts_with("spec.steps[0].container.env[0].value") && item.contains("MEDLEY_ITEMS"), "{item}");
        let [item] = &faults(step("$( item )"))[..] else { panic!("it is refused once") };
        assert!(item.starts_with("spec.steps[0].container.args[0]") && item.contains("MEDLEY_ITEMS"), "{item}");
        let [sum] = &faults(step("$( index + 1 )"))[..] else { panic!("it is refused once") };
        assert!(sum.contains("can only stand alone"), "{sum}");
        let [wait] = &faults(json!([{"name": "a", "forEach": {"count": 2}, "wait": {"for": "1s"}}]))[..] else {
            panic!("it is refused once")
        };
        assert!(wait.contains("wait cannot be done for each item"), "{wait}");
    }
}
