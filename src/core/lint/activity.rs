//! All that a workflow does: its steps, what undoes them, and the steps of `finally`. A new kind of action is added here.

use std::collections::BTreeSet;

use crate::{
    api::{
        call::{Call, HttpMethod},
        step::{ChildWorkflow, Container, Retry, Step, StepOutput, Transform},
        vocabulary::Safety,
        workflow::WorkflowSpec,
    },
    core::{coordination::definition::Role, expression::TemplateKind},
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

impl Activity<'_> {
    /// Its templates: path below it, kind, text.
    pub(super) fn templates(&self) -> Vec<(String, TemplateKind, &str)> {
        let mut all: Vec<(String, TemplateKind, &str)> = Vec::new();
        if let Some(call) = self.call {
            all.push(("call.http.path".to_owned(), TemplateKind::Url, &call.http.path));
            for (h, header) in call.http.headers.iter().enumerate() {
                all.push((format!("call.http.headers[{h}].value"), TemplateKind::Plain, &header.value));
            }
            if let Some(body) = &call.http.body {
                all.push(("call.http.body".to_owned(), TemplateKind::Plain, body));
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
        self.container.iter().flat_map(|c| c.env.iter().map(|v| v.name.as_str())).collect()
    }

    /// The safety that holds for it.
    pub(super) fn safety(&self) -> Safety {
        let method = self.call.map(|c| c.http.method.unwrap_or(HttpMethod::Get));
        let usual = if method.is_some_and(|m| !m.is_idempotent()) { Safety::AtMostOnce } else { Safety::Idempotent };
        self.safety.unwrap_or(usual)
    }
}
