//! All that a workflow does: its steps, what undoes them, and the steps of `finally`. A new kind of action is added here.

use std::collections::BTreeSet;

use crate::{
    api::{
        call::{Call, HttpMethod},
        fan_out::ForEach,
        fhir::{FhirCall, FhirParameter},
        step::{ChildWorkflow, Container, Retry, Step, StepOutput, Transform},
        vocabulary::Safety,
        workflow::WorkflowSpec,
    },
    core::{
        coordination::definition::{INDEX_VARIABLE, ITEMS_VARIABLE, Role},
        expression::TemplateKind,
    },
};

/// One thing that is done.
#[derive(Clone, Debug)]
pub(super) struct Activity<'a> {
    /// Path of its place: `spec.steps[2]`, `spec.steps[2].compensate`, `spec.finally[0]`.
    pub(super) at: String,
    /// The step, or the one that it undoes.
    pub(super) step: &'a Step,
    pub(super) role: Role,
    pub(super) when: Option<&'a str>,
    pub(super) after: &'a [String],
    pub(super) retry: Option<&'a Retry>,
    pub(super) outputs: &'a [StepOutput],
    pub(super) call: Option<&'a Call>,
    pub(super) container: Option<&'a Container>,
    pub(super) child: Option<&'a ChildWorkflow>,
    pub(super) transform: Option<&'a Transform>,
    safety: Option<Safety>,
}

/// All activities of a workflow, in the order of the file.
pub(super) fn all(spec: &WorkflowSpec) -> Vec<Activity<'_>> {
    let mut all = Vec::new();
    for (i, step) in spec.steps.iter().enumerate() {
        let at = format!("spec.steps[{i}]");
        all.push(of_step(at.clone(), step, Role::Main));
        if let Some(undo) = &step.compensate {
            all.push(Activity {
                at: format!("{at}.compensate"),
                step,
                role: Role::Compensation,
                when: None,
                after: &[],
                retry: undo.retry.as_ref(),
                outputs: &[],
                call: undo.call.as_ref(),
                container: undo.container.as_ref(),
                child: undo.workflow.as_ref(),
                transform: None,
                safety: undo.safety,
            });
        }
    }
    let finally = spec.finally.iter().enumerate();
    all.extend(finally.map(|(i, step)| of_step(format!("spec.finally[{i}]"), step, Role::Finally)));
    all
}

fn of_step(at: String, step: &Step, role: Role) -> Activity<'_> {
    Activity {
        at,
        step,
        role,
        when: step.when.as_deref(),
        after: &step.after,
        retry: step.retry.as_ref(),
        outputs: &step.outputs,
        call: step.call.as_ref(),
        container: step.container.as_ref(),
        child: step.workflow.as_ref(),
        transform: step.transform.as_ref(),
        safety: step.safety,
    }
}

impl<'a> Activity<'a> {
    /// What it is done for, where that is many items: what undoes a step is done once.
    pub(super) fn for_each(&self) -> Option<&'a ForEach> {
        self.step.for_each.as_ref().filter(|_| self.role != Role::Compensation)
    }

    /// Its templates: path below it, kind, text.
    pub(super) fn templates(&self) -> Vec<(String, TemplateKind, &str)> {
        let mut all: Vec<(String, TemplateKind, &str)> = Vec::new();
        if let Some(call) = self.call {
            if let Some(http) = &call.http {
                all.push(("call.http.path".to_owned(), TemplateKind::Url, &http.path));
                for (h, header) in http.headers.iter().enumerate() {
                    all.push((format!("call.http.headers[{h}].value"), TemplateKind::Plain, &header.value));
                }
                if let Some(body) = &http.body {
                    all.push(("call.http.body".to_owned(), TemplateKind::Plain, body));
                }
            }
            if let Some(hl7v2) = &call.hl7v2 {
                all.push(("call.hl7v2.message".to_owned(), TemplateKind::Hl7, &hl7v2.message));
            }
            if let Some(fhir) = &call.fhir {
                all.extend(of_fhir(fhir));
            }
            for (k, key) in call.dicom.iter().flat_map(|d| &d.find).flat_map(|f| &f.matching_keys).enumerate() {
                all.push((format!("call.dicom.find.matchingKeys[{k}].value"), TemplateKind::Plain, &key.value));
            }
        }
        if let Some(container) = self.container {
            for (field, list) in [("command", &container.command), ("args", &container.args)] {
                for (w, text) in list.iter().enumerate() {
                    all.push((format!("container.{field}[{w}]"), TemplateKind::Container, text));
                }
            }
            for (v, variable) in container.env.iter().enumerate() {
                all.push((format!("container.env[{v}].value"), TemplateKind::Container, &variable.value));
            }
        }
        all
    }

    /// Names of the kubelet's variables in its container.
    pub(super) fn environment(&self) -> BTreeSet<&str> {
        let of_items = self.for_each().map(|_| [INDEX_VARIABLE, ITEMS_VARIABLE]);
        let given = |c: &'a Container| c.env.iter().map(|v| v.name.as_str());
        self.container.into_iter().flat_map(given).chain(of_items.into_iter().flatten()).collect()
    }

    /// The safety that holds for it.
    pub(super) fn safety(&self) -> Safety {
        let repeats = self.call.is_none_or(|call| match (&call.http, &call.fhir) {
            (Some(http), _) => http.method.unwrap_or(HttpMethod::Get).is_idempotent(),
            (None, Some(fhir)) => repeats(fhir),
            (None, None) => true, // what is asked in DICOM changes nothing
        });
        let usual = if repeats { Safety::Idempotent } else { Safety::AtMostOnce };
        self.safety.unwrap_or(usual)
    }
}

/// The templates of a FHIR request: path, kind, text.
fn of_fhir(fhir: &FhirCall) -> Vec<(String, TemplateKind, &str)> {
    let mut all: Vec<(String, TemplateKind, &str)> = Vec::new();
    if let Some(read) = &fhir.read {
        all.push(("call.fhir.read.id".to_owned(), TemplateKind::Plain, &read.id));
    }
    if let Some(search) = &fhir.search {
        all.extend(searched("search.parameters", &search.parameters));
    }
    if let Some(create) = &fhir.create {
        all.push(("call.fhir.create.resource".to_owned(), TemplateKind::Json, &create.resource));
        all.extend(searched("create.ifNoneExist", &create.if_none_exist));
    }
    if let Some(update) = &fhir.update {
        all.push(("call.fhir.update.id".to_owned(), TemplateKind::Plain, &update.id));
        all.push(("call.fhir.update.resource".to_owned(), TemplateKind::Json, &update.resource));
        all.extend(
            update.if_match.iter().map(|t| ("call.fhir.update.ifMatch".to_owned(), TemplateKind::Plain, t.as_str())),
        );
    }
    if let Some(transaction) = &fhir.transaction {
        all.push(("call.fhir.transaction.bundle".to_owned(), TemplateKind::Json, &transaction.bundle));
    }
    if let Some(operation) = &fhir.operation {
        all.extend(operation.id.iter().map(|t| ("call.fhir.operation.id".to_owned(), TemplateKind::Plain, t.as_str())));
        all.extend(searched("operation.parameters", &operation.parameters));
        all.extend(
            operation.body.iter().map(|t| ("call.fhir.operation.body".to_owned(), TemplateKind::Json, t.as_str())),
        );
    }
    all
}

fn searched<'a>(field: &str, list: &'a [FhirParameter]) -> Vec<(String, TemplateKind, &'a str)> {
    let place = |(i, p): (usize, &'a FhirParameter)| {
        (format!("call.fhir.{field}[{i}].value"), TemplateKind::Search, p.value.as_str())
    };
    list.iter().enumerate().map(place).collect()
}

/// Whether doing it twice is as good as once; as `core::coordination` decides it.
fn repeats(fhir: &FhirCall) -> bool {
    if let Some(create) = &fhir.create {
        return !create.if_none_exist.is_empty();
    }
    if let Some(operation) = &fhir.operation {
        return !operation.affects_state.unwrap_or(operation.body.is_some());
    }
    fhir.transaction.is_none()
}
