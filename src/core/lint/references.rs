//! Does what an object refers to exist, and does it fit? Objects of all files are looked at together; what is not among
//! them may be in the cluster.

use std::collections::BTreeMap;

use super::{
    Source,
    activity::{self, Activity},
    deadlines,
    finding::{Findings, Severity},
    object::{Object, Spec},
    question, variables, workflow,
};
use crate::{
    api::{
        MedicalServiceSpec, Protocol, WorkflowRunSpec, WorkflowSpec, call::Call, interface::Interface,
        step::ChildWorkflow,
    },
    core::{
        coordination::{MAX_DEPTH, parameters},
        expression::kinds::Kind,
        suggest::nearest,
    },
};

pub(super) fn check(objects: &[Object], sources: &[Source<'_>], findings: &mut Findings) {
    duplicates(objects, sources, findings);
    for object in objects {
        match &object.spec {
            Spec::Workflow(spec) => {
                for activity in activity::all(spec) {
                    if let Some(call) = activity.call {
                        service(objects, object, &format!("{}.call", activity.at), call, findings);
                    }
                    if let Some(child) = activity.child {
                        child_run(objects, object, &activity, child, findings);
                    }
                }
                arguments(objects, object, spec, findings);
            }
            Spec::WorkflowRun(spec) => run(objects, object, spec, findings),
            Spec::CapacityPool(spec) => pool(objects, object, spec.parent.as_ref(), "spec.parent", findings),
            Spec::ServicePolicy(spec) => {
                let pool_name = spec.scheduling.as_ref().and_then(|s| s.pool.as_ref());
                pool(objects, object, pool_name, "spec.scheduling.pool", findings);
            }
            Spec::ServiceQuery(spec) => question::among(objects, object, spec, findings),
            Spec::MedicalService(_) | Spec::Unreadable => {}
        }
    }
}

fn duplicates(objects: &[Object], sources: &[Source<'_>], findings: &mut Findings) {
    let mut seen: BTreeMap<(&str, Option<&str>, &str), &Object> = BTreeMap::new();
    for object in objects.iter().filter(|o| !o.name.is_empty()) {
        match seen.entry((&object.kind, object.namespace.as_deref(), &object.name)) {
            std::collections::btree_map::Entry::Vacant(free) => {
                free.insert(object);
            }
            std::collections::btree_map::Entry::Occupied(taken) => {
                let first = taken.get();
                let place = first.node.find("metadata.name");
                let file = sources.get(first.file).map_or("", |s| s.name);
                let message = format!(
                    "there is a {} `{}` already, at {file}:{}:{}: the later one would replace it; give it another name",
                    object.kind, object.name, place.line, place.column
                );
                findings.at(object, Severity::Error, "duplicate-object", "metadata.name", message);
            }
        }
    }
}

/// The object of a kind and name in the namespace of another. Where one of the two names no namespace, they may meet.
fn find<'a>(objects: &'a [Object], from: &Object, kind: &str, name: &str) -> Option<&'a Object> {
    let of_name = |o: &&Object| o.kind == kind && o.name == name;
    let all = || objects.iter().filter(of_name);
    let same = |o: &&Object| o.namespace == from.namespace;
    all().find(same).or_else(|| all().find(|o| o.namespace.is_none() || from.namespace.is_none()))
}

/// Reports that an object is not among the files.
fn missing(objects: &[Object], from: &Object, kind: &str, name: &str, field: &str, findings: &mut Findings) {
    let here = objects.iter().filter(|o| o.kind == kind && o.name != name);
    let elsewhere = objects.iter().find(|o| o.kind == kind && o.name == name);
    let near = nearest(name, here.map(|o| o.name.as_str()));
    let (severity, message) = match (elsewhere.and_then(|o| o.namespace.as_deref()), near) {
        (Some(namespace), _) => (
            Severity::Warning,
            format!(
                "the {kind} `{name}` of these files is in the namespace `{namespace}`, and names do not reach across"
            ),
        ),
        (None, Some(near)) => (
            Severity::Warning,
            format!(
                "there is no {kind} `{name}` in these files; did you mean `{near}`? If not, it must be in the cluster"
            ),
        ),
        (None, None) => (
            Severity::Note,
            format!("the {kind} `{name}` is not in these files, so what is said about it was not checked"),
        ),
    };
    findings.at(from, severity, "reference", field, message);
}

/// Pools are of the cluster: they are named from everywhere.
fn pool(objects: &[Object], from: &Object, name: Option<&String>, field: &str, findings: &mut Findings) {
    let Some(name) = name else { return };
    if !objects.iter().any(|o| o.kind == "CapacityPool" && o.name == *name) {
        missing(objects, from, "CapacityPool", name, field, findings);
    }
}

fn service(objects: &[Object], from: &Object, path: &str, call: &Call, findings: &mut Findings) {
    if let Some(query) = &call.query
        && find(objects, from, "ServiceQuery", query).is_none()
    {
        missing(objects, from, "ServiceQuery", query, &format!("{path}.query"), findings);
    }
    let Some(name) = &call.service else { return };
    let Some(service) = find(objects, from, "MedicalService", name) else {
        return missing(objects, from, "MedicalService", name, &format!("{path}.service"), findings);
    };
    let Spec::MedicalService(spec) = &service.spec else { return };
    if let Some((field, message)) = interface(spec, name, call) {
        findings.at(from, Severity::Error, "reference", &format!("{path}.{field}"), message);
    }
}

fn interface(spec: &MedicalServiceSpec, name: &str, call: &Call) -> Option<(&'static str, String)> {
    let (fits, speech): (fn(Protocol) -> bool, &str) = if call.fhir.is_some() {
        (|p| p == Protocol::Fhir, "FHIR")
    } else if call.hl7v2.is_some() {
        (|p| p == Protocol::Hl7v2, "HL7v2")
    } else if call.dicom.is_some() {
        (|p| p == Protocol::Dicom, "DICOM")
    } else {
        (Protocol::speaks_http, "HTTP, FHIR or DICOMweb")
    };
    let speaking = || spec.interfaces.iter().filter(|i| fits(i.protocol)).map(|i| i.name.as_str());
    let list = |names: Vec<&str>| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let Some(wanted) = &call.interface else {
        return match spec.interfaces.iter().find(|i| fits(i.protocol)) {
            Some(first) => silent(first, name, call),
            None => {
                Some(("service", format!("the service `{name}` has no interface that speaks {speech}: add one to it")))
            }
        };
    };
    match spec.interfaces.iter().find(|i| i.name == *wanted) {
        None => {
            let all: Vec<&str> = spec.interfaces.iter().map(|i| i.name.as_str()).collect();
            let meant = nearest(wanted, all.iter().copied())
                .map_or_else(|| format!("it has {}", list(all.clone())), |near| format!("did you mean `{near}`?"));
            Some(("interface", format!("the service `{name}` has no interface `{wanted}`; {meant}")))
        }
        Some(interface) if !fits(interface.protocol) => {
            let message = format!(
                "the interface `{wanted}` of `{name}` speaks {}, and this request needs {speech}; of that kind it has {}",
                protocol(interface.protocol),
                list(speaking().collect())
            );
            Some(("interface", message))
        }
        Some(interface) => silent(interface, name, call),
    }
}

/// Whom an echo calls must be said.
fn silent(interface: &Interface, service: &str, call: &Call) -> Option<(&'static str, String)> {
    (call.dicom.is_some() && interface.dicom.is_none()).then(|| {
        let name = &interface.name;
        ("dicom", format!("the interface `{name}` of `{service}` has no dicom.calledAeTitle: set it there"))
    })
}

/// The workflow of a child run is there, does not lead back here, and is given what it needs.
fn child_run(
    objects: &[Object],
    from: &Object,
    activity: &Activity<'_>,
    child: &ChildWorkflow,
    findings: &mut Findings,
) {
    let at = format!("{}.workflow", activity.at);
    let field = format!("{at}.name");
    let Some(found) = find(objects, from, "Workflow", &child.name) else {
        return missing(objects, from, "Workflow", &child.name, &field, findings);
    };
    if leads_to(objects, found, from) {
        let message = format!(
            "`{}` runs `{}` again in the end, and child runs may be nested {MAX_DEPTH} deep: see that it comes to an end",
            child.name, from.name
        );
        findings.at(from, Severity::Warning, "reference", &field, message);
    }
    let Spec::Workflow(definition) = &found.spec else { return };
    let given = |name: &str| child.parameters.iter().any(|a| a.name == name);
    for parameter in definition.parameters.iter().filter(|p| p.required == Some(true) && !given(&p.name)) {
        let message = format!("the parameter `{}` of `{}` is required; give it a value", parameter.name, child.name);
        findings.at(from, Severity::Error, "parameter", &format!("{at}.parameters"), message);
    }
    for (p, argument) in child.parameters.iter().enumerate() {
        let names = || definition.parameters.iter().map(|p| p.name.as_str());
        if !names().any(|n| n == argument.name) {
            let meant = nearest(&argument.name, names()).map(|near| format!("; did you mean `{near}`?"));
            let message = format!(
                "the workflow `{}` declares no parameter `{}`{}",
                child.name,
                argument.name,
                meant.unwrap_or_default()
            );
            findings.at(from, Severity::Error, "parameter", &format!("{at}.parameters[{p}].name"), message);
        }
    }
}

/// Whether a workflow is another one, or runs it as a child, or has a child that does.
fn leads_to(objects: &[Object], from: &Object, to: &Object) -> bool {
    let mut seen: Vec<&Object> = vec![from];
    let mut at = 0;
    while let Some(object) = seen.get(at).copied() {
        if std::ptr::eq(object, to) {
            return true;
        }
        if let Spec::Workflow(spec) = &object.spec {
            let children = activity::all(spec).into_iter().filter_map(|a| a.child);
            for next in children.filter_map(|c| find(objects, object, "Workflow", &c.name)) {
                if !seen.iter().any(|s| std::ptr::eq(*s, next)) {
                    seen.push(next);
                }
            }
        }
        at += 1;
    }
    false
}

/// The kinds of the values that child runs are given.
fn arguments(objects: &[Object], from: &Object, spec: &WorkflowSpec, findings: &mut Findings) {
    for (path, child, name, kind) in workflow::arguments(spec) {
        let Some(Spec::Workflow(definition)) = find(objects, from, "Workflow", &child).map(|o| &o.spec) else {
            continue;
        };
        let Some(parameter) = definition.parameters.iter().find(|p| p.name == name) else { continue };
        let declared = variables::of_type(parameter.type_);
        let broken = declared == Kind::Int && kind == Kind::Double;
        if kind.differs(&declared) || broken {
            let message = format!(
                "the parameter `{name}` of `{child}` is declared as {:?}, and this is {}: change one of the two",
                parameter.type_,
                kind.name()
            );
            findings.at(from, Severity::Error, "parameter", &path, message);
        }
    }
}

fn run(objects: &[Object], from: &Object, spec: &WorkflowRunSpec, findings: &mut Findings) {
    let Some(workflow) = find(objects, from, "Workflow", &spec.workflow) else {
        return missing(objects, from, "Workflow", &spec.workflow, "spec.workflow", findings);
    };
    let Spec::Workflow(definition) = &workflow.spec else { return };
    for (name, mut problem) in parameters::problems(&definition.parameters, &spec.parameters) {
        let field = format!("spec.parameters.{name}");
        let declared = definition.parameters.iter().any(|p| p.name == name);
        if !declared && let Some(near) = nearest(&name, definition.parameters.iter().map(|p| p.name.as_str())) {
            problem.push_str(&format!("; did you mean `{near}`?"));
        }
        // a name that is wrong, or a value
        let place = if declared { from.node.find(&field) } else { from.node.find_key(&field) };
        findings.add((from.file, place), Severity::Error, "parameter", &field, problem);
    }
    if let Some((severity, message)) = spec.deadline.and_then(|d| deadlines::missed(definition, d)) {
        findings.at(from, severity, "deadline", "spec.deadline", message);
    }
    let of_run = spec.retry_from.iter().map(|r| ("spec.retryFrom.step".to_owned(), &r.step));
    let resolved = spec.resolutions.iter().enumerate().map(|(i, r)| (format!("spec.resolutions[{i}].step"), &r.step));
    for (field, step) in of_run.chain(resolved) {
        let names = || definition.steps.iter().map(|s| s.name.as_str());
        if !names().any(|n| n == step) {
            let meant = nearest(step, names()).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            let message = format!("the workflow `{}` has no step `{step}`{meant}", spec.workflow);
            findings.at(from, Severity::Error, "reference", &field, message);
        }
    }
}

/// As it is written in a spec.
fn protocol(protocol: Protocol) -> String {
    serde_json::to_value(protocol).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}
