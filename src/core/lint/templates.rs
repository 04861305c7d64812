//! Where could `$( CEL )` and the kubelet's `$(NAME)` be taken for each other?

use std::collections::BTreeSet;

use super::{
    activity::Activity,
    finding::{Findings, Severity},
    object::Object,
};
use crate::{
    api::{MedicalServiceSpec, medical_service::EnvVar, step::Container},
    core::expression::TemplateKind,
};

/// The insides of all `$(…)` of a text, up to the first `)`; `$$(` is none.
fn insides(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("$(") {
        let literal = rest[..at].ends_with('$');
        let after = &rest[at + 2..];
        let end = after.find(')').unwrap_or(after.len());
        if !literal {
            found.push(&after[..end]);
        }
        rest = &after[end..];
    }
    found
}

/// Whether a text could be the name of a variable of the environment.
fn is_name(text: &str) -> bool {
    let start = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    start && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn is_shouted(text: &str) -> bool {
    is_name(text) && !text.chars().any(|c| c.is_ascii_lowercase())
}

/// What to do about a template that does not compile because it was meant for the kubelet, or that is none.
pub(super) fn hint(activities: &[Activity<'_>], field: &str) -> String {
    let below = |a: &Activity<'_>| field.strip_prefix(&a.at).and_then(|f| f.strip_prefix('.')).map(str::to_owned);
    let found = activities.iter().filter_map(|a| Some((a, below(a)?))).max_by_key(|(a, _)| a.at.len());
    let Some((activity, rest)) = found else { return String::new() };
    let text = activity.templates().into_iter().find(|(path, ..)| *path == rest);
    if let Some((_, TemplateKind::Container, text)) = text {
        let declared = activity.environment();
        for inside in insides(text) {
            let name = inside.trim();
            if declared.contains(name) && name != inside {
                return format!("; for the variable of env write $({name}), without spaces");
            }
            if is_shouted(name) {
                return format!(
                    "; for the kubelet's $({name}) declare `{name}` in env, for the text itself write $$({name})"
                );
            }
        }
    }
    let own = match (rest.as_str(), activity.when, activity.transform) {
        ("when", Some(when), _) => when,
        ("transform.expression", _, Some(transform)) => transform.expression.as_str(),
        _ => "",
    };
    if own.contains("$(") {
        "; this is an expression by itself: write it without $( )".to_owned()
    } else {
        String::new()
    }
}

/// Containers: names that mean two things, variables that are not there yet, and fields that are no templates.
pub(super) fn workflow(object: &Object, activities: &[Activity<'_>], findings: &mut Findings) {
    for activity in activities {
        let Some(container) = activity.container else { continue };
        let at = |field: &str| format!("{}.container.{field}", activity.at);
        let declared = activity.environment();
        for (path, _, text) in activity.templates() {
            let path = format!("{}.{path}", activity.at);
            for inside in insides(text) {
                if declared.contains(inside) && matches!(inside, "params" | "steps" | "run") {
                    let message = format!(
                        "$({inside}) is the variable of env here, not the expression `{inside}`: give the variable another name"
                    );
                    findings.at(object, Severity::Warning, "template", &path, message);
                }
            }
        }
        order(object, container, &at, findings);
        if container.image.contains("$(") {
            let message = "the image is no template and is used as it stands: write the name out";
            findings.at(object, Severity::Warning, "template", &at("image"), message);
        }
    }
}

/// The kubelet puts in only variables that stand above.
fn order(object: &Object, container: &Container, at: &dyn Fn(&str) -> String, findings: &mut Findings) {
    for (v, variable) in container.env.iter().enumerate() {
        for inside in insides(&variable.value) {
            if container.env.iter().position(|other| other.name == inside).is_some_and(|other| other >= v) {
                let message = format!(
                    "$({inside}) stays as it is, since the kubelet puts in only variables that stand above: move `{inside}` up"
                );
                findings.at(object, Severity::Warning, "template", &at(&format!("env[{v}].value")), message);
            }
        }
    }
}

/// A service's own pods: there are no expressions at all.
pub(super) fn service(object: &Object, spec: &MedicalServiceSpec, findings: &mut Findings) {
    let Some(workload) = &spec.workload else { return };
    let mut look = |path: String, text: &str, known: BTreeSet<&str>| {
        for inside in insides(text).into_iter().filter(|i| !known.contains(i)) {
            let message = format!(
                "$({inside}) stays as it is: a service's pods have no expressions, and the kubelet puts in only variables of env that stand above; write $$({inside}) if the text itself is meant"
            );
            findings.at(object, Severity::Warning, "template", &path, message);
        }
    };
    let names = |env: &'_ [EnvVar]| -> BTreeSet<String> { env.iter().map(|v| v.name.clone()).collect() };
    let all = names(&workload.env);
    for (field, list) in [("command", &workload.command), ("args", &workload.args)] {
        for (w, text) in list.iter().enumerate() {
            look(format!("spec.workload.{field}[{w}]"), text, all.iter().map(String::as_str).collect());
        }
    }
    for (v, variable) in workload.env.iter().enumerate() {
        let above = names(&workload.env[..v]);
        look(format!("spec.workload.env[{v}].value"), &variable.value, above.iter().map(String::as_str).collect());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_inside_is_found() {
        assert_eq!(insides("$(A)/$( params.x )$$(B)$(C"), ["A", " params.x ", "C"]);
        assert!(is_shouted("HOME_1") && !is_shouted("params") && !is_shouted(" A"));
    }
}
