//! Do the CEL rules of a schema (`x-kubernetes-validations`) hold? Evaluated by kube's own engine, walked as
//! the API server walks: keyed lists are correlated by key, a rule without `oldSelf` is not repeated where nothing changed.

use crate::{
    cause::Cause,
    keys::key_step,
    reads::{Reads, Scope},
};
use kube::core::cel::{
    CompilationResult, KubeCelExt,
    cel::{
        Context, ExecutionError, Program, Value as Cel,
        extractors::This,
        objects::{Key, Map as CelMap},
    },
    compile_schema,
};
use serde_json::{Value, json};
use std::{
    borrow::Cow,
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// The rules of one place in a schema and of the places below it.
#[derive(Debug, Default)]
struct Node {
    rules: Vec<CompilationResult>,
    /// What they and their messages look at.
    reads: Scope,
    /// What values here look like, for their conversion.
    hint: Hint,
    fields: BTreeMap<String, Node>,
    items: Option<Box<Node>>,
    values: Option<Box<Node>>,
    /// Keys of a keyed list.
    keys: Vec<(String, Option<Value>)>,
    is_map: bool,
    /// A rule is here or below.
    busy: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq)]
enum Hint {
    #[default]
    Plain,
    Number,
    DateTime,
    Duration,
}

/// All rules of a schema, compiled.
pub(crate) struct Rules {
    root: Node,
    context: Context<'static>,
    /// `timestamp(text)` and `duration(text)`.
    timestamp: Option<Program>,
    duration: Option<Program>,
    /// Rules that the engine cannot compile or evaluate are left out.
    lenient: bool,
}

impl std::fmt::Debug for Rules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rules").field("root", &self.root).finish_non_exhaustive()
    }
}

impl Rules {
    /// The rules, and the problem of each that does not compile.
    pub(crate) fn compile(schema: &Value, lenient: bool) -> (Self, Vec<String>) {
        let mut context = Context::default().with_all();
        // the engine checks no types, so hiding one changes nothing
        context.add_function("dyn", |value: Cel| -> Result<Cel, ExecutionError> { Ok(value) });
        // the engine's own compiles the expression each time
        context.add_function("matches", |This(text): This<Arc<String>>, pattern: Arc<String>| matches(&pattern, &text));
        let mut refused = Vec::new();
        let root = node(schema, &mut refused);
        let [timestamp, duration] = ["timestamp(text)", "duration(text)"].map(|text| Program::compile(text).ok());
        (Self { root, context, timestamp, duration, lenient }, refused)
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.root.busy
    }

    pub(crate) fn check(&self, object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
        self.walk(&self.root, object, old, "", causes);
    }

    fn walk(&self, node: &Node, value: &Value, old: Option<&Value>, path: &str, causes: &mut Vec<Cause>) {
        if !node.busy || value.is_null() {
            return;
        }
        if !node.rules.is_empty() {
            self.judge(node, value, old, path, causes);
        }
        match value {
            Value::Object(map) => {
                for (name, child) in map {
                    let was = old.and_then(|o| o.get(name));
                    if let Some(sub) = node.fields.get(name) {
                        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                        self.walk(sub, child, was, &path, causes);
                    } else if let Some(sub) = &node.values {
                        self.walk(sub, child, was, &format!("{path}[{name}]"), causes);
                    }
                }
            }
            Value::Array(items) => {
                let Some(sub) = &node.items else { return };
                let before: HashMap<String, &Value> = match old.and_then(Value::as_array) {
                    Some(old) if !node.keys.is_empty() => {
                        old.iter().map(|item| (key_step(item, &node.keys), item)).collect()
                    }
                    _ => HashMap::new(),
                };
                for (i, item) in items.iter().enumerate() {
                    let was = if before.is_empty() { None } else { before.get(&key_step(item, &node.keys)).copied() };
                    self.walk(sub, item, was, &format!("{path}[{i}]"), causes);
                }
            }
            _ => {}
        }
    }

    fn judge(&self, node: &Node, value: &Value, old: Option<&Value>, path: &str, causes: &mut Vec<Cause>) {
        let unchanged = old == Some(value);
        let due = |rule: &CompilationResult| {
            if rule.is_transition_rule {
                old.is_some() || rule.rule.optional_old_self == Some(true)
            } else {
                !unchanged
            }
        };
        if !node.rules.iter().any(due) {
            return;
        }
        let mut scope = self.context.new_inner_scope();
        scope.add_variable_from_value("self", self.convert_for(&node.reads.now, value, node));
        match old {
            Some(old) => scope.add_variable_from_value("oldSelf", self.convert_for(&node.reads.old, old, node)),
            None => scope.add_variable_from_value("oldSelf", Cel::Null),
        }
        for rule in node.rules.iter().filter(|rule| due(rule)) {
            let problem = match rule.program.execute(&scope) {
                Ok(Cel::Bool(true)) => continue,
                Ok(Cel::Bool(false)) => None,
                Ok(_) => Some("rule did not evaluate to a boolean".to_owned()),
                Err(_) if self.lenient => continue,
                Err(error) => Some(error.to_string()),
            };
            let message = rule
                .message_program
                .as_ref()
                .and_then(|program| match program.execute(&scope) {
                    Ok(Cel::String(text)) => Some((*text).clone()),
                    _ => None,
                })
                .or_else(|| rule.rule.message.clone())
                .unwrap_or_else(|| format!("failed rule: {}", rule.rule.rule));
            causes.push(cause(rule, value, path, &message, problem));
        }
    }

    /// As much of a value as the rules look at.
    fn convert_for(&self, reads: &Reads, value: &Value, node: &Node) -> Cel {
        let map = match value {
            Value::Null => return Cel::Null,
            // whether it is there is all that is asked
            _ if !reads.whole && reads.below.is_empty() => return Cel::Bool(true),
            Value::Object(map) if !reads.whole => map,
            _ => return self.convert(value, Some(node)),
        };
        let entries = map.iter().filter_map(|(name, child)| {
            let shown = if node.is_map { Cow::Borrowed(name.as_str()) } else { escaped(name) };
            let of_it = reads.below.get(shown.as_ref())?;
            let converted = match node.fields.get(name).or(node.values.as_deref()) {
                Some(sub) => self.convert_for(of_it, child, sub),
                None => self.convert(child, None),
            };
            Some((Key::String(Arc::new(shown.into_owned())), converted))
        });
        Cel::Map(CelMap { map: Arc::new(entries.collect()) })
    }

    fn convert(&self, value: &Value, node: Option<&Node>) -> Cel {
        match value {
            Value::Null => Cel::Null,
            Value::Bool(b) => Cel::Bool(*b),
            Value::Number(n) => match (n.as_i64(), node.map(|n| n.hint)) {
                (Some(_), Some(Hint::Number)) | (None, _) => Cel::Float(n.as_f64().unwrap_or(f64::NAN)),
                (Some(i), _) => Cel::Int(i),
            },
            Value::String(text) => self.convert_text(text, node.map_or(Hint::Plain, |n| n.hint)),
            Value::Array(items) => {
                let sub = node.and_then(|n| n.items.as_deref());
                Cel::List(Arc::new(items.iter().map(|item| self.convert(item, sub)).collect()))
            }
            Value::Object(map) => {
                let is_map = node.is_some_and(|n| n.is_map);
                let entries = map.iter().map(|(name, child)| {
                    let sub = node.and_then(|n| n.fields.get(name).or(n.values.as_deref()));
                    let name = if is_map { name.clone() } else { escaped(name).into_owned() };
                    (Key::String(Arc::new(name)), self.convert(child, sub))
                });
                Cel::Map(CelMap { map: Arc::new(entries.collect()) })
            }
        }
    }

    /// The engine's own conversion functions make its time values; text they refuse stays text.
    fn convert_text(&self, text: &str, hint: Hint) -> Cel {
        let plain = Cel::String(Arc::new(text.to_owned()));
        let program = match hint {
            Hint::DateTime => &self.timestamp,
            Hint::Duration => &self.duration,
            Hint::Plain | Hint::Number => return plain,
        };
        let Some(program) = program else { return plain };
        let mut scope = self.context.new_inner_scope();
        scope.add_variable_from_value("text", plain.clone());
        program.execute(&scope).unwrap_or(plain)
    }
}

fn cause(rule: &CompilationResult, value: &Value, path: &str, message: &str, problem: Option<String>) -> Cause {
    if let Some(problem) = problem {
        let shown = match value {
            Value::Object(_) => "object",
            Value::Array(_) => "array",
            Value::String(_) => "string",
            Value::Bool(_) => "boolean",
            _ => "integer",
        };
        return Cause::invalid(path, &Value::from(shown), format!("{problem} evaluating rule: {message}"));
    }
    let field = match rule.rule.field_path.as_deref() {
        Some(sub) if path.is_empty() => sub.trim_start_matches('.').to_owned(),
        Some(sub) => format!("{path}{sub}"),
        None => path.to_owned(),
    };
    match rule.rule.reason.as_deref() {
        Some("FieldValueForbidden") => Cause::new("FieldValueForbidden", &field, format!("Forbidden: {message}")),
        Some("FieldValueRequired") => Cause::required(&field, message),
        Some("FieldValueDuplicate") => Cause::new("FieldValueDuplicate", &field, format!("Duplicate value: {value}")),
        // Containers are not repeated in the message, scalars are.
        _ if value.is_object() || value.is_array() => {
            Cause::new("FieldValueInvalid", &field, format!("Invalid value: {message}"))
        }
        _ => Cause::invalid(&field, value, message),
    }
}

fn node(schema: &Value, refused: &mut Vec<String>) -> Node {
    let mut rules = Vec::new();
    if let Some(own) = schema.get("x-kubernetes-validations") {
        for rule in compile_schema(&json!({"x-kubernetes-validations": own})).validations {
            match rule {
                Ok(rule) => rules.push(rule),
                Err(error) => refused.push(error.to_string()),
            }
        }
    }
    let mut reads = Scope::default();
    for rule in &rules {
        let programs = [Some(&rule.program), rule.message_program.as_ref()];
        programs.into_iter().flatten().for_each(|program| reads.take_in(program.expression()));
    }
    let mut fields = BTreeMap::new();
    for (name, sub) in schema["properties"].as_object().into_iter().flatten() {
        fields.insert(name.clone(), node(sub, refused));
    }
    let mut below = |name: &str| schema[name].is_object().then(|| Box::new(node(&schema[name], refused)));
    let (items, values) = (below("items"), below("additionalProperties"));
    let busy =
        !rules.is_empty() || fields.values().chain(items.as_deref()).chain(values.as_deref()).any(|sub| sub.busy);
    let keys = schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let keys = keys.map(|key| (key.to_owned(), schema["items"]["properties"][key].get("default").cloned())).collect();
    let hint = match (schema["type"].as_str(), schema["format"].as_str()) {
        (Some("number"), _) => Hint::Number,
        (Some("string"), Some("date-time")) => Hint::DateTime,
        (Some("string"), Some("duration")) => Hint::Duration,
        _ => Hint::Plain,
    };
    let is_map = values.is_some() || schema["additionalProperties"] == true;
    Node { rules, reads, hint, fields, items, values, keys, is_map, busy }
}

/// A field's name as CEL expressions write it.
fn escaped(name: &str) -> Cow<'_, str> {
    const RESERVED: &[&str] = &[
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ];
    if RESERVED.contains(&name) {
        return Cow::Owned(format!("__{name}__"));
    }
    if !name.contains(['.', '-', '/']) && !name.contains("__") {
        return Cow::Borrowed(name);
    }
    let name = name.replace("__", "__underscores__").replace('.', "__dot__");
    Cow::Owned(name.replace('-', "__dash__").replace('/', "__slash__"))
}

/// Answers that are remembered; then all are forgotten.
const REMEMBERED: usize = 20_000;

/// Answers by pattern and text.
#[derive(Default)]
struct Known {
    count: usize,
    answers: HashMap<String, HashMap<String, bool>>,
}

/// Whether `text` matches a schema's pattern, by the regular expressions of the CEL engine (RE2 syntax, as the server's).
/// A pattern that does not compile matches nothing. The engine compiles the pattern each time, which takes far longer than all
/// else about a small object: answers are remembered.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    thread_local! {
        static MATCHER: Option<(Program, Context<'static>)> =
            Program::compile("text.matches(pattern)").ok().map(|program| (program, Context::default().with_all()));
        static KNOWN: RefCell<Known> = RefCell::default();
    }
    if let Some(known) = KNOWN.with_borrow(|known| known.answers.get(pattern).and_then(|k| k.get(text)).copied()) {
        return known;
    }
    let answer = MATCHER.with(|matcher| {
        let Some((program, context)) = matcher else { return false };
        let mut scope = context.new_inner_scope();
        scope.add_variable_from_value("text", Cel::String(Arc::new(text.to_owned())));
        scope.add_variable_from_value("pattern", Cel::String(Arc::new(pattern.to_owned())));
        matches!(program.execute(&scope), Ok(Cel::Bool(true)))
    });
    KNOWN.with_borrow_mut(|known| {
        if known.count == REMEMBERED {
            *known = Known::default();
        }
        known.count += 1;
        known.answers.entry(pattern.to_owned()).or_default().insert(text.to_owned(), answer);
    });
    answer
}
