//! One thing that was found.

use serde::Serialize;

use super::{Source, object::Object, place::Place};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It is refused, or will fail.
    Error,
    /// It may fail, or does not do what it seems to.
    Warning,
    /// It could be simpler, or could not be checked.
    Note,
}

impl Severity {
    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// One thing that was found, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Name of the file.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1, in characters.
    pub column: usize,
    /// How bad it is.
    pub severity: Severity,
    /// Which rule it breaks: one word of a closed set, see `docs/tools.md`.
    pub rule: &'static str,
    /// Path of the field, such as `spec.steps[2].when`; empty for the whole object.
    pub field: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}: {}: ", self.file, self.line, self.column, self.severity.as_str())?;
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        write!(f, "{} [{}]", self.message, self.rule)
    }
}

/// All that has been found so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    list: Vec<(usize, Place, Finding)>,
}

impl Findings {
    /// Something at a place of a file.
    pub(super) fn add(
        &mut self,
        (file, place): (usize, Place),
        severity: Severity,
        rule: &'static str,
        field: &str,
        message: impl Into<String>,
    ) {
        let finding = Finding {
            file: String::new(),
            line: place.line,
            column: place.column,
            severity,
            rule,
            field: field.to_owned(),
            message: message.into(),
        };
        let new = (file, place, finding);
        if !self.list.contains(&new) {
            self.list.push(new);
        }
    }

    /// Something about a field of an object; it points at the value.
    pub(super) fn at(
        &mut self,
        object: &Object,
        severity: Severity,
        rule: &'static str,
        field: &str,
        message: impl Into<String>,
    ) {
        self.add((object.file, object.node.find(field)), severity, rule, field, message);
    }

    /// Whether an error was found in an object at a field or below it.
    pub(super) fn has_error(&self, object: &Object, field: &str) -> bool {
        self.errors(object).any(|f| f.field.starts_with(field))
    }

    /// Whether an error was found in an object at exactly this field.
    pub(super) fn names(&self, object: &Object, field: &str) -> bool {
        self.errors(object).any(|f| f.field == field)
    }

    fn errors(&self, object: &Object) -> impl Iterator<Item = &Finding> {
        let (file, first, last) = (object.file, object.node.place, object.last);
        let within = move |f: usize, place: Place| f == file && (first..=last).contains(&place);
        let of_object = self.list.iter().filter(move |(file, place, _)| within(*file, *place));
        of_object.map(|(_, _, f)| f).filter(|f| f.severity == Severity::Error)
    }

    /// In the order of files, lines and columns.
    pub(super) fn sorted(mut self, sources: &[Source<'_>]) -> Vec<Finding> {
        self.list.sort_by(|(fa, pa, a), (fb, pb, b)| {
            (fa, pa, a.severity, &a.field, &a.message).cmp(&(fb, pb, b.severity, &b.field, &b.message))
        });
        let named = |(file, _, finding): (usize, Place, Finding)| Finding {
            file: sources.get(file).map_or_else(String::new, |s| s.name.to_owned()),
            ..finding
        };
        self.list.into_iter().map(named).collect()
    }
}
