//! A workflow's definition, read once: names resolved to places, expressions compiled, defaults filled in.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    api::{
        medical_service::{ImagePullPolicy, Resources},
        vocabulary::{Safety, Urgency},
        workflow::{HttpMethod, Parameter, Step, ValueType, WorkflowSpec},
    },
    core::{
        coordination::{parameters, retry::RetryPolicy},
        expression::{Expression, ExpressionError, References, Template, TemplateKind},
    },
};

/// A call's timeout where the step gives none.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// A container's timeout where the step gives none.
const CONTAINER_TIMEOUT: Duration = Duration::from_secs(3600);

/// One thing that is wrong with a definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Path of the field, such as `spec.steps[2].when`.
    pub field: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// A valid definition.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    /// Urgency of runs that name none.
    pub urgency: Urgency,
    /// What a run may or must give.
    pub parameters: Vec<Parameter>,
    /// The steps; each comes after all that it waits for.
    pub steps: Vec<StepDefinition>,
    /// The run's outputs.
    pub outputs: Vec<(String, Expression)>,
}

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub struct StepDefinition {
    /// Its name.
    pub name: String,
    /// Places of the steps that must be done first.
    pub after: Vec<usize>,
    /// False skips the step.
    pub when: Option<Expression>,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// Further attempts.
    pub retry: RetryPolicy,
    /// May it be repeated when nobody knows whether it took effect?
    pub safety: Safety,
    /// Its outputs.
    pub outputs: Vec<OutputDefinition>,
    /// What it does.
    pub action: Action,
}

/// One output of a step.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputDefinition {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: ValueType,
    /// Expression over `result`.
    pub value: Expression,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Talks to a service.
    Call(Box<CallDefinition>),
    /// Runs a pod.
    Container(Box<ContainerDefinition>),
    /// Computes a value.
    Transform(Expression),
    /// Lets time pass.
    Wait(Duration),
}

/// An HTTP request to a service.
#[derive(Clone, Debug, PartialEq)]
pub struct CallDefinition {
    /// Name of the `MedicalService`.
    pub service: String,
    /// Name of its interface; the first that speaks HTTP when `None`.
    pub interface: Option<String>,
    /// Method.
    pub method: HttpMethod,
    /// Path and query.
    pub path: Template,
    /// Header names and values.
    pub headers: Vec<(String, Template)>,
    /// Body.
    pub body: Option<Template>,
    /// Statuses that are a success; any 2xx when empty.
    pub expect_status: Vec<u16>,
}

/// A container run to its end.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerDefinition {
    /// Image.
    pub image: String,
    /// When it is pulled.
    pub image_pull_policy: ImagePullPolicy,
    /// Entry point.
    pub command: Vec<Template>,
    /// Arguments.
    pub args: Vec<Template>,
    /// Environment.
    pub env: Vec<(String, Template)>,
    /// Requests and limits.
    pub resources: Option<Resources>,
}

impl Definition {
    /// Reads a spec.
    ///
    /// # Errors
    /// All that is wrong, each with its field: the API server's schema has let it through, but an expression does not
    /// compile, or refers to what is not there.
    pub fn parse(spec: &WorkflowSpec) -> Result<Self, Vec<Fault>> {
        let mut reader = Reader { spec, faults: Vec::new(), ancestors: Vec::new() };
        let mut places: BTreeMap<&str, usize> = BTreeMap::new();
        for (i, parameter) in spec.parameters.iter().enumerate() {
            if let Err(message) = parameters::check_declaration(parameter) {
                reader.fault(format!("spec.parameters[{i}].default"), message);
            }
        }
        let mut steps = Vec::with_capacity(spec.steps.len());
        for (i, step) in spec.steps.iter().enumerate() {
            let mut after = Vec::new();
            let mut ancestors = BTreeSet::new();
            for name in &step.after {
                match places.get(name.as_str()) {
                    Some(&place) => {
                        after.push(place);
                        ancestors.extend(reader.ancestors[place].iter().cloned());
                        ancestors.insert(name.clone());
                    }
                    None => reader.fault(
                        format!("spec.steps[{i}].after"),
                        format!("`{name}` is not a step above `{}`", step.name),
                    ),
                }
            }
            reader.ancestors.push(ancestors);
            if places.insert(&step.name, i).is_some() {
                reader
                    .fault(format!("spec.steps[{i}].name"), format!("`{}` is the name of an earlier step", step.name));
            }
            if let Some(step) = reader.step(i, step, after) {
                steps.push(step);
            }
        }
        let every_step: BTreeSet<String> = spec.steps.iter().map(|s| s.name.clone()).collect();
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
            Ok(Self {
                urgency: spec.urgency.unwrap_or(Urgency::Routine),
                parameters: spec.parameters.clone(),
                steps,
                outputs,
            })
        } else {
            Err(reader.faults)
        }
    }
}

/// Which variables an expression may use.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// `params`, `steps`, `run`.
    Flow,
    /// `result` besides.
    Result,
}

struct Reader<'a> {
    spec: &'a WorkflowSpec,
    faults: Vec<Fault>,
    /// For each step so far, the names of all that are done when it starts.
    ancestors: Vec<BTreeSet<String>>,
}

impl Reader<'_> {
    fn fault(&mut self, field: String, message: impl Into<String>) {
        self.faults.push(Fault { field, message: message.into() });
    }

    fn step(&mut self, i: usize, step: &Step, after: Vec<usize>) -> Option<StepDefinition> {
        let at = |field: &str| format!("spec.steps[{i}].{field}");
        let known = self.ancestors[i].clone();
        let when = match &step.when {
            Some(text) => Some(self.expression(&at("when"), text, &known, Scope::Flow)?),
            None => None,
        };
        let (action, timeout, safety) = self.action(i, step, &known)?;
        let mut outputs = Vec::new();
        for (o, output) in step.outputs.iter().enumerate() {
            let plain = format!("result.{}", output.name);
            let text = output.value.as_deref().unwrap_or(&plain);
            let value = self.expression(&at(&format!("outputs[{o}].value")), text, &known, Scope::Result)?;
            outputs.push(OutputDefinition { name: output.name.clone(), kind: output.type_, value });
        }
        Some(StepDefinition {
            name: step.name.clone(),
            after,
            when,
            timeout: step.timeout.map_or(timeout, crate::api::Span::duration),
            retry: RetryPolicy::new(step.retry.as_ref(), step.safety.unwrap_or(safety)),
            safety: step.safety.unwrap_or(safety),
            outputs,
            action,
        })
    }

    fn action(&mut self, i: usize, step: &Step, known: &BTreeSet<String>) -> Option<(Action, Duration, Safety)> {
        let at = |field: &str| format!("spec.steps[{i}].{field}");
        if let Some(call) = &step.call {
            let http = &call.http;
            let method = http.method.unwrap_or(HttpMethod::Get);
            let path = self.template(&at("call.http.path"), &http.path, TemplateKind::Url, &BTreeSet::new(), known)?;
            let mut headers = Vec::new();
            for (h, header) in http.headers.iter().enumerate() {
                let field = at(&format!("call.http.headers[{h}].value"));
                let value = self.template(&field, &header.value, TemplateKind::Plain, &BTreeSet::new(), known)?;
                headers.push((header.name.clone(), value));
            }
            let body = match &http.body {
                Some(text) => {
                    Some(self.template(&at("call.http.body"), text, TemplateKind::Plain, &BTreeSet::new(), known)?)
                }
                None => None,
            };
            let safety = if method.is_idempotent() { Safety::Idempotent } else { Safety::AtMostOnce };
            let call = CallDefinition {
                service: call.service.clone(),
                interface: call.interface.clone(),
                method,
                path,
                headers,
                body,
                expect_status: http.expect_status.clone(),
            };
            Some((Action::Call(Box::new(call)), CALL_TIMEOUT, safety))
        } else if let Some(container) = &step.container {
            let declared: BTreeSet<&str> = container.env.iter().map(|v| v.name.as_str()).collect();
            let words = |reader: &mut Self, field: &str, list: &[String]| -> Option<Vec<Template>> {
                list.iter()
                    .enumerate()
                    .map(|(w, text)| {
                        reader.template(
                            &at(&format!("container.{field}[{w}]")),
                            text,
                            TemplateKind::Container,
                            &declared,
                            known,
                        )
                    })
                    .collect()
            };
            let command = words(self, "command", &container.command)?;
            let args = words(self, "args", &container.args)?;
            let values: Vec<String> = container.env.iter().map(|v| v.value.clone()).collect();
            let env = container.env.iter().map(|v| v.name.clone()).zip(words(self, "env", &values)?).collect();
            let container = ContainerDefinition {
                image: container.image.clone(),
                image_pull_policy: container.image_pull_policy.unwrap_or(ImagePullPolicy::IfNotPresent),
                command,
                args,
                env,
                resources: container.resources.clone(),
            };
            Some((Action::Container(Box::new(container)), CONTAINER_TIMEOUT, Safety::Idempotent))
        } else if let Some(transform) = &step.transform {
            let expression = self.expression(&at("transform.expression"), &transform.expression, known, Scope::Flow)?;
            Some((Action::Transform(expression), Duration::ZERO, Safety::Idempotent))
        } else if let Some(wait) = &step.wait {
            Some((Action::Wait(wait.for_.duration()), Duration::ZERO, Safety::Idempotent))
        } else {
            self.fault(format!("spec.steps[{i}]"), "exactly one of call, container, transform and wait must be set");
            None
        }
    }

    fn expression(&mut self, field: &str, text: &str, known: &BTreeSet<String>, scope: Scope) -> Option<Expression> {
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
        self.check(field, &template.references(), known, Scope::Flow).then_some(template)
    }

    fn compiled<T>(&mut self, field: &str, result: Result<T, ExpressionError>) -> Option<T> {
        result.map_err(|e| self.fault(field.to_owned(), e.to_string())).ok()
    }

    fn check(&mut self, field: &str, references: &References, known: &BTreeSet<String>, scope: Scope) -> bool {
        let before = self.faults.len();
        let fault = |reader: &mut Self, message: String| reader.fault(field.to_owned(), message);
        for name in &references.variables {
            let allowed =
                matches!(name.as_str(), "params" | "steps" | "run") || (scope == Scope::Result && name == "result");
            if !allowed {
                let result = if scope == Scope::Result { ", result" } else { "" };
                fault(
                    self,
                    format!("there is no variable `{name}`; an expression here may use params, steps, run{result}"),
                );
            }
        }
        if references.computed {
            fault(
                self,
                "use params.<name> and steps.<name> with the name written out, so that what a step needs can be told"
                    .to_owned(),
            );
        }
        for name in &references.parameters {
            if !self.spec.parameters.iter().any(|p| p.name == *name) {
                fault(self, format!("`params.{name}` is not declared in spec.parameters"));
            }
        }
        for name in &references.steps {
            if !known.contains(name) {
                let exists = self.spec.steps.iter().any(|s| s.name == *name);
                fault(
                    self,
                    if exists {
                        format!("`steps.{name}` may not be done yet: add `{name}` to after")
                    } else {
                        format!("`steps.{name}` is not a step of this workflow")
                    },
                );
            }
        }
        self.faults.len() == before
    }
}
