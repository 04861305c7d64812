//! Expressions (CEL, kube's own engine) and templates: text with `$( CEL )` inside.

mod collect;
mod cost;
mod depth;
mod json;
pub mod kinds;
mod references;
mod template;
mod value;

use std::{
    collections::BTreeMap,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use kube::core::cel::{KubeCelExt, cel};
use serde_json::Value;

pub use references::References;
pub use template::{Template, TemplateKind};

/// Deepest nesting of `map`, `filter`, `all`, `exists` in one expression.
const MAX_NESTING: usize = 2;
/// Characters of one expression. The parser calls itself for each operator of a chain such as `1 + 1 + 1`, and bounds only what stands in
/// brackets.
const MAX_LENGTH: usize = 4096;
/// Levels of a syntax tree. A release bore 500 on a worker's stack of 2 MiB, and not 1,000.
const MAX_DEPTH: usize = 100;

/// The variables of an evaluation, by name.
pub type Variables = BTreeMap<String, Value>;

/// A compiled expression.
#[derive(Clone)]
pub struct Expression {
    source: String,
    program: Arc<cel::IdedExpr>,
    references: Arc<References>,
}

/// Steps of evaluation that are left, about 50 ns each: at first what a single expression may take.
#[derive(Clone, Debug)]
pub struct Budget(u64);

impl Default for Budget {
    fn default() -> Self {
        Self(cost::MAX_STEPS)
    }
}

/// What is wrong with an expression or with its evaluation. Texts name no value: values may be confidential.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpressionError {
    /// It is not CEL.
    #[error("`{expression}` is not a valid expression: {problem}")]
    Syntax {
        /// The text.
        expression: String,
        /// What the parser says.
        problem: String,
    },
    /// Macros are nested too deeply.
    #[error("`{0}` nests map, filter, all or exists more than {MAX_NESTING} levels deep: split it over several steps")]
    TooNested(String),
    /// It is too long to be read.
    #[error("an expression of {0} characters is too long: write at most {MAX_LENGTH}, and split it over several steps")]
    TooLong(usize),
    /// What it is made of is nested too deeply; a chain of operators is, too.
    #[error(
        "`{0}` nests its parts, or chains operators or fields, more than {MAX_DEPTH} deep: split it over several steps"
    )]
    TooDeep(String),
    /// It could take too long or too much memory for values of this size.
    #[error("`{expression}` is too costly for its input ({problem}): use smaller values or a simpler expression")]
    TooCostly {
        /// The text.
        expression: String,
        /// The bound that does not hold.
        problem: String,
    },
    /// Its evaluation failed.
    #[error("`{expression}` cannot be evaluated: {problem}")]
    Evaluation {
        /// The text.
        expression: String,
        /// What the engine says.
        problem: String,
    },
    /// Its value is of another kind than its place needs.
    #[error("`{expression}` gives {got} where {want} is needed")]
    Type {
        /// The text.
        expression: String,
        /// What came.
        got: &'static str,
        /// What its place needs.
        want: &'static str,
    },
    /// A path would leave its place.
    #[error("the path has a segment `.` or `..`, which would lead somewhere else: give values that are names")]
    DotSegment,
    /// A template of a JSON text is not JSON, whatever its values are.
    #[error(
        "the text is not JSON with a value at each `$( … )` ({0}): give a whole JSON text, with values in strings or where a value stands"
    )]
    NotJson(String),
    /// A template's `$(` has no matching `)`.
    #[error("the text has a `$(` without its `)`; write `$$(` for a literal `$(`")]
    Unclosed,
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expression({})", self.source)
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Budget {
    /// So many steps.
    #[must_use]
    pub const fn of(steps: u64) -> Self {
        Self(steps)
    }
}

impl Expression {
    /// Compiles a text.
    ///
    /// # Errors
    /// When it is not CEL, is too long, or nests macros or anything else too deeply.
    pub fn compile(source: &str) -> Result<Self, ExpressionError> {
        let length = source.chars().count();
        if length > MAX_LENGTH {
            return Err(ExpressionError::TooLong(length));
        }
        let invalid = |problem| ExpressionError::Syntax { expression: source.to_owned(), problem };
        // where integers that overflow are a panic, its bound of brackets is one
        let parsed = catch_unwind(|| cel::Program::compile(source))
            .map_err(|_| invalid("the parser cannot read it; use fewer brackets and conditions".to_owned()))?;
        let program = parsed.map_err(|e| invalid(one_line(&e.to_string())))?;
        if depth::depth(program.expression()) > MAX_DEPTH {
            return Err(ExpressionError::TooDeep(source.to_owned()));
        }
        let references = References::of(program.expression());
        if references.messages {
            return Err(ExpressionError::Syntax {
                expression: source.to_owned(),
                problem: "there are no message types; write a map such as {\"id\": 1}".to_owned(),
            });
        }
        if references.nesting > MAX_NESTING {
            return Err(ExpressionError::TooNested(source.to_owned()));
        }
        let program = Arc::new(collect::rewrite(program.expression()));
        Ok(Self { source: source.to_owned(), program, references: Arc::new(references) })
    }

    /// The text.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The syntax tree as it was written, before loops are put together. Made anew at each call, since only tools ask.
    fn written(&self) -> cel::IdedExpr {
        // the text has been compiled before, so it can be again
        cel::Program::compile(&self.source).map(|p| p.expression().clone()).unwrap_or_default()
    }

    /// What it refers to.
    #[must_use]
    pub fn references(&self) -> &References {
        &self.references
    }

    /// The parameter whose value it gives, where it is nothing but `params.<name>`.
    #[must_use]
    pub fn sole_parameter(&self) -> Option<&str> {
        references::sole_parameter(&self.program)
    }

    /// Its value.
    ///
    /// # Errors
    /// When a variable or key is missing, types do not fit, or the cost bound for the given values is exceeded.
    pub fn evaluate(&self, variables: &Variables) -> Result<Value, ExpressionError> {
        self.evaluate_within(variables, &mut Budget::default())
    }

    /// Its value, at the expense of what many evaluations may take together.
    ///
    /// # Errors
    /// As [`Self::evaluate`], and when the budget is used up.
    pub fn evaluate_within(&self, variables: &Variables, budget: &mut Budget) -> Result<Value, ExpressionError> {
        let costly = |problem| ExpressionError::TooCostly { expression: self.source.clone(), problem };
        let steps = cost::steps(&self.program, variables).map_err(costly)?;
        budget.0 = budget.0.checked_sub(steps).ok_or_else(|| costly("all items together take too long".to_owned()))?;
        let mut context = cel::Context::default().with_all();
        collect::register(&mut context);
        for (name, value) in variables {
            context.add_variable_from_value(name.as_str(), value::to_cel(value));
        }
        let failed = |problem: String| ExpressionError::Evaluation { expression: self.source.clone(), problem };
        // a few functions of the engine panic on odd arguments; an expression must not take its worker with it
        let resolved = catch_unwind(AssertUnwindSafe(|| context.resolve(&self.program)))
            .map_err(|_| failed("a function does not work on these values".to_owned()))?;
        let value = resolved.map_err(|e| failed(value::describe(&e)))?;
        value::from_cel(&value).map_err(|kind| failed(format!("its value is {kind}, which has no JSON form")))
    }

    /// Its value, which must be true or false.
    ///
    /// # Errors
    /// As [`Self::evaluate`], and when the value is neither.
    pub fn holds(&self, variables: &Variables) -> Result<bool, ExpressionError> {
        match self.evaluate(variables)? {
            Value::Bool(b) => Ok(b),
            other => Err(ExpressionError::Type {
                expression: self.source.clone(),
                got: value::kind(&other),
                want: "true or false",
            }),
        }
    }
}

fn one_line(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn vars(value: Value) -> Variables {
        Variables::from([("params".to_owned(), value)])
    }

    #[test]
    fn numbers_compare_whatever_their_kind() {
        let v = vars(json!({"n": 3, "x": 2.5, "big": 18_446_744_073_709_551_615_u64}));
        for text in ["params.n > 2", "params.n == 3", "params.x < 3.0", "params.n * 2 == 6", "params.big > 5u"] {
            assert_eq!(Expression::compile(text).unwrap().holds(&v), Ok(true), "{text}");
        }
    }

    #[test]
    fn values_come_back_as_json() {
        let v = vars(json!({"list": [{"a": 1}, {"a": 2}], "name": "x"}));
        let e = Expression::compile(r#"{"sum": params.list.map(i, i.a), "name": params.name + "!"}"#).unwrap();
        assert_eq!(e.evaluate(&v).unwrap(), json!({"sum": [1, 2], "name": "x!"}));
    }

    #[test]
    fn errors_name_the_expression_but_no_value() {
        let v = vars(json!({"secret": "CANARY"}));
        for text in ["params.missing", "params.secret + 1"] {
            let error = Expression::compile(text).unwrap().evaluate(&v).expect_err(text).to_string();
            assert!(error.contains(text), "{error}");
            assert!(!error.contains("CANARY"), "{error}");
        }
        assert!(Expression::compile("params.").unwrap_err().to_string().contains("not a valid expression"));
    }

    #[test]
    fn a_panic_of_the_engine_is_an_error() {
        let error = Expression::compile("b'abc'.contains(b'')").unwrap().evaluate(&Variables::new()).unwrap_err();
        assert!(matches!(error, ExpressionError::Evaluation { .. }), "{error}");
    }

    #[test]
    fn deep_text_is_refused_without_harm() {
        assert!(Expression::compile(&"(".repeat(1024)).is_err());
        let deep = format!("{}1{}", "(".repeat(511), ")".repeat(511));
        assert!(Expression::compile(&deep).is_err());
        assert!(Expression::compile("Study{id: 1}").unwrap_err().to_string().contains("no message types"));
        let nested = "[1].map(a, [1].map(b, [1].map(c, c)))";
        assert!(matches!(Expression::compile(nested), Err(ExpressionError::TooNested(_))));
        assert!(Expression::compile(&format!("{}1", "true ? 1 : ".repeat(300))).is_err());
    }

    #[test]
    fn a_chain_is_as_deep_as_it_is_long_and_takes_no_more_stack_than_there_is() {
        let chain = |link: &str, links: usize| Expression::compile(&format!("1{}", link.repeat(links)));
        for link in ["+1", "-1", "*1", "<1", "==1", " in 1", ".a", "[0]", ".f()"] {
            assert!(chain(link, MAX_DEPTH - 1).is_ok(), "{link}");
            for links in [MAX_DEPTH, MAX_LENGTH / link.len() - 1] {
                assert!(matches!(chain(link, links), Err(ExpressionError::TooDeep(_))), "{links} of {link}");
            }
            assert_eq!(chain(link, MAX_LENGTH), Err(ExpressionError::TooLong(1 + link.len() * MAX_LENGTH)));
        }
        assert_eq!(chain("+1", MAX_DEPTH - 1).unwrap().evaluate(&Variables::new()), Ok(json!(MAX_DEPTH)));
        // the parser makes a balanced tree of these
        let either = Expression::compile(&format!("false{}", "||true".repeat(600))).unwrap();
        assert_eq!(either.holds(&Variables::new()), Ok(true));
    }
}
