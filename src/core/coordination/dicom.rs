//! `call.dicom`: what is asked in an association, and what the answer means.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    outcome::{CallResult, Failure},
    request::{Texts, foreign},
    view::{InterfaceView, Wire},
};
use crate::{
    api::{
        dicom::{DicomAttribute, DicomCall, DicomFind},
        vocabulary::ErrorClass,
    },
    core::{
        dicom::{
            attribute::{Scope, form},
            find::{Found, LIMIT, Query},
        },
        discovery::defaults,
        expression::{ExpressionError, Template, TemplateKind},
    },
};

/// What is asked in an association of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct DicomDefinition {
    /// medley's AE title; the interface's when not set.
    pub calling: Option<String>,
    /// What is asked.
    pub ask: Question,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Question {
    /// C-ECHO.
    Echo,
    /// C-FIND.
    Find(FindDefinition),
}

/// C-FIND.
#[derive(Clone, Debug, PartialEq)]
pub struct FindDefinition {
    /// What is looked for.
    pub scope: Scope,
    /// What must match.
    pub keys: Vec<(DicomAttribute, Template)>,
    /// What is returned.
    pub returned: Vec<DicomAttribute>,
    /// Most matches.
    pub limit: u16,
}

impl DicomDefinition {
    /// Reads a call; `None` when something is wrong with it, which has been noted then.
    pub(super) fn read(call: &DicomCall, texts: &mut impl Texts) -> Option<Self> {
        let ask = match (&call.echo, &call.find) {
            (Some(_), None) => Question::Echo,
            (None, Some(find)) => Question::Find(FindDefinition::read(find, texts)?),
            _ => {
                texts.fault("call.dicom", "exactly one of echo and find must be set: it says what is asked for");
                return None;
            }
        };
        Some(Self { calling: call.calling_ae_title.clone(), ask })
    }

    /// What is asked of an interface, with its values; what is wrong with them, by field and never by value.
    pub(super) fn wire(
        &self,
        fill: &dyn Fn(&Template) -> Result<String, ExpressionError>,
        interface: &InterfaceView,
    ) -> Result<Wire, String> {
        let Some(dicom) = &interface.dicom else {
            return Err(format!(
                "the interface `{}` does not say its AE title: set dicom.calledAeTitle of it",
                interface.name
            ));
        };
        let titles = defaults::titles(dicom, self.calling.as_deref());
        match &self.ask {
            Question::Echo => Ok(Wire::Echo(titles)),
            Question::Find(find) => Ok(Wire::Find(titles, find.query(fill)?)),
        }
    }

    /// What expressions see as `result`, or why what came is a failure. The service has answered, so it is known what came of it.
    pub(super) fn settle(&self, what: CallResult) -> Result<Value, Failure> {
        match (&self.ask, what) {
            (Question::Echo, CallResult::Echoed { status: 0 }) => Ok(json!({ "status": 0 })),
            (Question::Echo, CallResult::Echoed { status }) => Err(Failure {
                class: ErrorClass::Rejected,
                known: true,
                message: format!("the service answered the echo with status 0x{status:04X}"),
            }),
            (Question::Find(_), CallResult::Found(Found { status: 0, matches, complete })) => {
                Ok(json!({ "count": matches.len(), "complete": complete, "matches": matches }))
            }
            (Question::Find(_), CallResult::Found(found)) => Err(Failure {
                class: found.class(),
                known: true,
                message: format!("the service answered the query with status 0x{:04X}", found.status),
            }),
            _ => Err(foreign()),
        }
    }
}

impl FindDefinition {
    fn read(find: &DicomFind, texts: &mut impl Texts) -> Option<Self> {
        let scope = Scope::of(find.model, find.level);
        let list = |of: &[DicomAttribute]| of.iter().map(|a| a.as_str()).collect::<Vec<_>>().join(", ");
        let mut faults = Vec::new();
        for (i, key) in find.matching_keys.iter().enumerate().filter(|(_, k)| !scope.matched().contains(&k.name)) {
            let message = format!("{} cannot be matched here: use {}", key.name.as_str(), list(scope.matched()));
            faults.push((format!("call.dicom.find.matchingKeys[{i}].name"), message));
        }
        for (i, key) in find.return_keys.iter().enumerate().filter(|(_, k)| !scope.returned().contains(k)) {
            let message = format!("{} is not returned here: use {}", key.as_str(), list(scope.returned()));
            faults.push((format!("call.dicom.find.returnKeys[{i}]"), message));
        }
        for &above in scope.required().iter().filter(|above| !find.matching_keys.iter().any(|k| k.name == **above)) {
            let message = format!("{} must be one of them at this level: it says where to look", above.as_str());
            faults.push(("call.dicom.find.matchingKeys".to_owned(), message));
        }
        for (field, message) in &faults {
            texts.fault(field, message);
        }
        let keys = find.matching_keys.iter().enumerate().map(|(i, key)| {
            let field = format!("call.dicom.find.matchingKeys[{i}].value");
            Some((key.name, texts.template(&field, &key.value, TemplateKind::Plain)?))
        });
        let keys: Option<Vec<_>> = keys.collect();
        let limit = find.limit.unwrap_or(LIMIT);
        keys.filter(|_| faults.is_empty()).map(|keys| Self { scope, keys, returned: find.return_keys.clone(), limit })
    }

    /// The question with its values. Each must be one value of its attribute: an empty one, or one with wildcards, would find what nobody
    /// has asked for.
    fn query(&self, fill: &dyn Fn(&Template) -> Result<String, ExpressionError>) -> Result<Query, String> {
        let mut keys = BTreeMap::new();
        for (attribute, template) in &self.keys {
            let value = fill(template).map_err(|e| e.to_string())?;
            let form = form(*attribute);
            if !form.is_key(&value) {
                let name = attribute.as_str();
                return Err(format!("call.dicom.find.matchingKeys: the value of {name} must be {}", form.words()));
            }
            keys.insert(*attribute, value);
        }
        Ok(Query { scope: self.scope, keys, returned: self.returned.clone(), limit: self.limit })
    }
}

#[cfg(test)]
#[path = "dicom_tests.rs"]
mod tests;
