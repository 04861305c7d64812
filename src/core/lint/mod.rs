//! What is wrong with medley's objects in files, before anything is applied? Every finding has its line and column.
//!
//! The API server's own checks (structure and CEL rules) come from `medley-schema`, those of the operator from
//! `Definition::parse`; the rest is what neither can see: unknown fields, which the API server drops, kinds of values in
//! expressions, and references between objects.

mod activity;
mod deadlines;
mod fields;
mod finding;
mod fit;
mod flow;
mod hours;
mod items;
mod metadata;
mod object;
mod place;
mod question;
mod references;
mod retries;
mod scalar;
mod templates;
mod uses;
mod variables;
mod workflow;
mod yaml;

use finding::Findings;
pub use finding::{Finding, Severity};
use object::{Kinds, Object};
pub use place::Place;

/// A file.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Its name, as findings show it.
    pub name: &'a str,
    /// What it holds: one or more YAML documents.
    pub text: &'a str,
}

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// In the order of files, lines and columns.
    pub findings: Vec<Finding>,
    /// Objects of medley's kinds that were looked at.
    pub objects: usize,
    /// Other objects, which were not.
    pub others: usize,
}

impl Report {
    /// Findings of one severity.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|f| f.severity == severity).count()
    }
}

/// What is needed to look at files: the schemas, read once.
#[derive(Debug, Default)]
pub struct Linter {
    kinds: Kinds,
}

impl Linter {
    /// Looks at all files together: objects of one may refer to objects of another.
    #[must_use]
    pub fn lint(&self, sources: &[Source<'_>]) -> Report {
        let mut findings = Findings::default();
        let mut objects: Vec<Object> = Vec::new();
        let mut others = 0;
        for (file, source) in sources.iter().enumerate() {
            let reading = yaml::read(source.text);
            for problem in reading.problems {
                let rule = if problem.duplicate { "duplicate-key" } else { "yaml" };
                let severity = if problem.minor { Severity::Warning } else { Severity::Error };
                findings.add((file, problem.place), severity, rule, &problem.field, problem.message);
            }
            for node in reading.documents {
                match object::identify(file, node, &self.kinds, &mut findings) {
                    Some(object) => objects.push(object),
                    None => others += 1,
                }
            }
        }
        for object in &mut objects {
            fit::check(object, &self.kinds, &mut findings);
            match &object.spec {
                object::Spec::Workflow(spec) => workflow::check(object, spec, &mut findings),
                object::Spec::MedicalService(spec) => templates::service(object, spec, &mut findings),
                object::Spec::ServiceQuery(spec) => question::check(object, spec, &mut findings),
                object::Spec::CapacityPool(spec) => hours::check(object, spec, &mut findings),
                object::Spec::ServicePolicy(_) | object::Spec::WorkflowRun(_) | object::Spec::Unreadable => {}
            }
        }
        references::check(&objects, sources, &mut findings);
        Report { findings: findings.sorted(sources), objects: objects.len(), others }
    }
}
