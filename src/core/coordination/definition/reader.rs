//! From a spec to a definition, with all that is wrong named by its field.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    Action, CallDefinition, Callee, ChildDefinition, ConcurrencyDefinition, ContainerDefinition, Definition, Fault,
    OutputDefinition, Role, Source, StepDefinition, WorkspaceDefinition,
    fan_out::{INDEX_VARIABLE, ITEMS_VARIABLE},
    scope::Scope,
};
use crate::{
    api::{
        call::Call,
        medical_service::ImagePullPolicy,
        step::{ChildWorkflow, Compensation, Container, Step},
        vocabulary::{Safety, Urgency},
        workflow::{AccessMode, ConcurrencyPolicy, WorkflowSpec},
    },
    core::{
        coordination::{
            capacity, parameters,
            request::{RequestDefinition, Texts},
            retry::RetryPolicy,
        },
        expression::{Expression, ExpressionError, Template, TemplateKind},
        scheduling::Quantities,
    },
};

/// A call's timeout where the step gives none.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// A container's timeout where the step gives none.
const CONTAINER_TIMEOUT: Duration = Duration::from_secs(3600);
/// A child run's timeout where the step gives none.
const CHILD_TIMEOUT: Duration = Duration::from_secs(24 * 3600);
/// Where containers find the workspace when it does not say.
const MOUNT_PATH: &str = "/workspace";

/// Reads a spec.
pub(super) fn read(spec: &WorkflowSpec) -> Result<Definition, Vec<Fault>> {
    let mut reader = Reader { spec, faults: Vec::new(), items: false };
    for (i, parameter) in spec.parameters.iter().enumerate() {
        if let Err(message) = parameters::check_declaration(parameter) {
            reader.fault(format!("spec.parameters[{i}]"), message);
        }
    }
    let steps = reader.steps("spec.steps", &spec.steps, Role::Main, &BTreeSet::new());
    let every_step: BTreeSet<String> = spec.steps.iter().map(|s| s.name.clone()).collect();
    for (i, step) in spec.finally.iter().enumerate() {
        if every_step.contains(&step.name) {
            reader.fault(format!("spec.finally[{i}].name"), format!("`{}` is the name of one of steps", step.name));
        }
        if step.compensate.is_some() {
            reader.fault(format!("spec.finally[{i}].compensate"), "what finally does is not undone: remove it");
        }
    }
    let finally = reader.steps("spec.finally", &spec.finally, Role::Finally, &every_step);
    let concurrency = spec.concurrency.as_ref().map(|c| ConcurrencyDefinition {
        key: c.key.as_ref().and_then(|k| reader.expression("spec.concurrency.key", k, &BTreeSet::new(), Scope::Flow)),
        limit: usize::try_from(c.limit).unwrap_or(usize::MAX),
        policy: c.policy.unwrap_or(ConcurrencyPolicy::Queue),
    });
    let workspace = spec.workspace.as_ref().map(|w| WorkspaceDefinition {
        size: w.size.clone(),
        storage_class: w.storage_class_name.clone(),
        access_mode: w.access_mode.unwrap_or(AccessMode::ReadWriteOnce),
        mount_path: w.mount_path.clone().unwrap_or_else(|| MOUNT_PATH.to_owned()),
    });
    let outputs = spec
        .outputs
        .iter()
        .enumerate()
        .filter_map(|(i, output)| {
            let field = format!("spec.outputs[{i}].value");
            let value = reader.expression(&field, &output.value, &every_step, Scope::Flow)?;
            Some((output.name.clone(), value))
        })
        .collect();
    if reader.faults.is_empty() {
        Ok(Definition {
            urgency: spec.urgency.unwrap_or(Urgency::Routine),
            deadline: spec.deadline,
            parameters: spec.parameters.clone(),
            steps,
            finally,
            workspace,
            concurrency,
            outputs,
        })
    } else {
        Err(reader.faults)
    }
}

/// What an action is, how long an attempt may take, and whether it may be repeated, where the step does not say.
type Read = (Action, Duration, Safety);

/// The texts of one step.
struct StepTexts<'r, 's, 'k> {
    reader: &'r mut Reader<'s>,
    /// Path of the step.
    at: &'k str,
    known: &'k BTreeSet<String>,
}

impl Texts for StepTexts<'_, '_, '_> {
    fn template(&mut self, field: &str, text: &str, kind: TemplateKind) -> Option<Template> {
        self.reader.template(&format!("{}.{field}", self.at), text, kind, &BTreeSet::new(), self.known)
    }

    fn fault(&mut self, field: &str, message: &str) {
        self.reader.fault(format!("{}.{field}", self.at), message);
    }
}

pub(super) struct Reader<'a> {
    pub(super) spec: &'a WorkflowSpec,
    pub(super) faults: Vec<Fault>,
    /// Expressions see `item` and `index`.
    pub(super) items: bool,
}

impl Reader<'_> {
    pub(super) fn fault(&mut self, field: String, message: impl Into<String>) {
        self.faults.push(Fault { field, message: message.into() });
    }

    /// A list of steps; those named in `done` are over before the first of them starts.
    fn steps(&mut self, list: &str, steps: &[Step], role: Role, done: &BTreeSet<String>) -> Vec<StepDefinition> {
        let mut places: BTreeMap<&str, usize> = BTreeMap::new();
        // for each step so far, the names of all that are done when it starts
        let mut known: Vec<BTreeSet<String>> = Vec::new();
        let mut read = Vec::with_capacity(steps.len());
        for (i, step) in steps.iter().enumerate() {
            let mut after = Vec::new();
            let mut ancestors = done.clone();
            for name in &step.after {
                match places.get(name.as_str()) {
                    Some(&place) => {
                        after.push(place);
                        ancestors.extend(known[place].iter().cloned());
                        ancestors.insert(name.clone());
                    }
                    None => self
                        .fault(format!("{list}[{i}].after"), format!("`{name}` is not a step above `{}`", step.name)),
                }
            }
            if places.insert(&step.name, i).is_some() {
                self.fault(format!("{list}[{i}].name"), format!("`{}` is the name of an earlier step", step.name));
            }
            if let Some(step) = self.step(&format!("{list}[{i}]"), step, role, after, &ancestors) {
                read.push(step);
            }
            known.push(ancestors);
        }
        read
    }

    fn step(
        &mut self,
        at: &str,
        step: &Step,
        role: Role,
        after: Vec<usize>,
        known: &BTreeSet<String>,
    ) -> Option<StepDefinition> {
        let when = match &step.when {
            Some(text) => Some(self.expression(&format!("{at}.when"), text, known, Scope::Flow)?),
            None => None,
        };
        let fan_out = match &step.for_each {
            Some(each) => Some(self.fan_out(&format!("{at}.forEach"), each, known)?),
            None => None,
        };
        self.items = fan_out.is_some();
        let action = self.action(at, step, known);
        self.items = false;
        let (action, timeout, safety) = action?;
        if fan_out.is_some() {
            self.check_fan_out(at, step, &action);
        }
        let holds = self.holds(at, &step.holds, &action)?;
        let mut outputs = Vec::new();
        for (o, output) in step.outputs.iter().enumerate() {
            let plain = format!("result.{}", output.name);
            let text = output.value.as_deref().unwrap_or(&plain);
            let value = self.expression(&format!("{at}.outputs[{o}].value"), text, known, Scope::Result)?;
            outputs.push(OutputDefinition { name: output.name.clone(), kind: output.type_, value });
        }
        let compensate = match &step.compensate {
            Some(compensation) => {
                let mut known = known.clone();
                known.insert(step.name.clone());
                Some(Box::new(self.compensation(&format!("{at}.compensate"), &step.name, compensation, &known)?))
            }
            None => None,
        };
        Some(StepDefinition {
            name: step.name.clone(),
            role,
            after,
            when,
            timeout: step.timeout.map_or(timeout, crate::api::Span::duration),
            deadline_share: step.deadline_share,
            retry: RetryPolicy::new(step.retry.as_ref(), step.safety.unwrap_or(safety)),
            safety: step.safety.unwrap_or(safety),
            outputs,
            interruptible: step.interruptible == Some(true),
            holds,
            fan_out,
            action,
            compensate,
        })
    }

    fn compensation(
        &mut self,
        at: &str,
        name: &str,
        what: &Compensation,
        known: &BTreeSet<String>,
    ) -> Option<StepDefinition> {
        let (action, timeout, safety) = match (&what.call, &what.container, &what.workflow) {
            (Some(call), None, None) => self.call(at, call, known)?,
            (None, Some(container), None) => self.container(at, container, known)?,
            (None, None, Some(child)) => self.child(at, child, known)?,
            _ => {
                self.fault(at.to_owned(), "exactly one of call, container and workflow must be set");
                return None;
            }
        };
        Some(StepDefinition {
            name: name.to_owned(),
            role: Role::Compensation,
            after: Vec::new(),
            when: None,
            timeout: what.timeout.map_or(timeout, crate::api::Span::duration),
            deadline_share: None,
            retry: RetryPolicy::new(what.retry.as_ref(), what.safety.unwrap_or(safety)),
            safety: what.safety.unwrap_or(safety),
            outputs: Vec::new(),
            interruptible: false,
            holds: Quantities::new(),
            fan_out: None,
            action,
            compensate: None,
        })
    }

    fn holds(&mut self, at: &str, holds: &BTreeMap<String, String>, action: &Action) -> Option<Quantities> {
        let resources = if let Action::Container(c) = action { c.resources.as_ref() } else { None };
        let needs = capacity::needs(holds, resources, matches!(action, Action::Container(_)));
        let fault =
            |name| (format!("{at}.holds"), format!("`{name}`: there cannot be so much of anything: ask for less"));
        needs.map_err(|name| self.faults.extend([fault(name)].map(|(field, message)| Fault { field, message }))).ok()
    }

    fn action(&mut self, at: &str, step: &Step, known: &BTreeSet<String>) -> Option<Read> {
        if let Some(call) = &step.call {
            self.call(at, call, known)
        } else if let Some(container) = &step.container {
            self.container(at, container, known)
        } else if let Some(child) = &step.workflow {
            self.child(at, child, known)
        } else if let Some(transform) = &step.transform {
            let field = format!("{at}.transform.expression");
            let expression = self.expression(&field, &transform.expression, known, Scope::Flow)?;
            Some((Action::Transform(expression), Duration::ZERO, Safety::Idempotent))
        } else if let Some(wait) = &step.wait {
            Some((Action::Wait(wait.for_.duration()), Duration::ZERO, Safety::Idempotent))
        } else {
            self.fault(at.to_owned(), "exactly one of call, container, transform, wait and workflow must be set");
            None
        }
    }

    fn call(&mut self, at: &str, call: &Call, known: &BTreeSet<String>) -> Option<Read> {
        let request = RequestDefinition::read(call, &mut StepTexts { reader: self, at, known })?;
        let safety = request.safety();
        let callee = match (&call.service, &call.query) {
            (Some(name), None) => Callee::Service { name: name.clone(), interface: call.interface.clone() },
            (None, Some(name)) => Callee::Query(name.clone()),
            _ => {
                self.fault(format!("{at}.call"), "exactly one of service and query must be set");
                return None;
            }
        };
        let call = CallDefinition { callee, request };
        Some((Action::Call(Box::new(call)), CALL_TIMEOUT, safety))
    }

    fn container(&mut self, at: &str, container: &Container, known: &BTreeSet<String>) -> Option<Read> {
        let mut declared: BTreeSet<&str> = container.env.iter().map(|v| v.name.as_str()).collect();
        if self.items {
            declared.extend([INDEX_VARIABLE, ITEMS_VARIABLE]);
        }
        let words = |reader: &mut Self, field: &str, list: &[String]| -> Option<Vec<Template>> {
            list.iter()
                .enumerate()
                .map(|(w, text)| {
                    let field = format!("{at}.container.{field}[{w}]");
                    reader.template(&field, text, TemplateKind::Container, &declared, known)
                })
                .collect()
        };
        let command = words(self, "command", &container.command)?;
        let args = words(self, "args", &container.args)?;
        let mut env = Vec::with_capacity(container.env.len());
        for (e, variable) in container.env.iter().enumerate() {
            let field = format!("{at}.container.env[{e}].value");
            let template =
                self.compiled(&field, Template::compile(&variable.value, TemplateKind::Container, &declared))?;
            let template = if self.items { self.indexed(&field, template)? } else { template };
            let value = match template.sole_parameter().filter(|p| self.is_sensitive(p)) {
                Some(parameter) => Source::Sensitive(parameter.to_owned()),
                None if self.check(&field, &template.references(), known, Scope::Flow) => Source::Computed(template),
                None => return None,
            };
            env.push((variable.name.clone(), value));
        }
        let container = ContainerDefinition {
            image: container.image.clone(),
            image_pull_policy: container.image_pull_policy.unwrap_or(ImagePullPolicy::IfNotPresent),
            command,
            args,
            env,
            resources: container.resources.clone(),
        };
        Some((Action::Container(Box::new(container)), CONTAINER_TIMEOUT, Safety::Idempotent))
    }

    fn child(&mut self, at: &str, child: &ChildWorkflow, known: &BTreeSet<String>) -> Option<Read> {
        let mut parameters = Vec::with_capacity(child.parameters.len());
        for (p, argument) in child.parameters.iter().enumerate() {
            let field = format!("{at}.workflow.parameters[{p}].value");
            let expression = self.compiled(&field, Expression::compile(&argument.value))?;
            let value = match expression.sole_parameter().filter(|p| self.is_sensitive(p)) {
                Some(parameter) => Source::Sensitive(parameter.to_owned()),
                None if self.check(&field, expression.references(), known, Scope::Flow) => Source::Computed(expression),
                None => return None,
            };
            parameters.push((argument.name.clone(), value));
        }
        let child = ChildDefinition { workflow: child.name.clone(), parameters };
        Some((Action::Child(Box::new(child)), CHILD_TIMEOUT, Safety::Idempotent))
    }

    pub(super) fn is_sensitive(&self, parameter: &str) -> bool {
        self.spec.parameters.iter().any(|p| p.name == parameter && p.sensitive == Some(true))
    }

    pub(super) fn expression(
        &mut self,
        field: &str,
        text: &str,
        known: &BTreeSet<String>,
        scope: Scope,
    ) -> Option<Expression> {
        let expression = self.compiled(field, Expression::compile(text))?;
        self.check(field, expression.references(), known, scope).then_some(expression)
    }

    fn template(
        &mut self,
        field: &str,
        text: &str,
        kind: TemplateKind,
        kubelet: &BTreeSet<&str>,
        known: &BTreeSet<String>,
    ) -> Option<Template> {
        let template = self.compiled(field, Template::compile(text, kind, kubelet))?;
        let template =
            if self.items && kind == TemplateKind::Container { self.indexed(field, template)? } else { template };
        self.check(field, &template.references(), known, Scope::Flow).then_some(template)
    }

    fn compiled<T>(&mut self, field: &str, result: Result<T, ExpressionError>) -> Option<T> {
        result.map_err(|e| self.fault(field.to_owned(), e.to_string())).ok()
    }
}
