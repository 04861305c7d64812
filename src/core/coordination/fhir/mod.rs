//! FHIR's REST API (HL7 FHIR R4, http.html §3.1.0): requests made from a definition, and what the answers mean.

mod answer;
mod issue;
mod request;

use super::request::Texts;
use crate::{
    api::fhir::{FhirCall, FhirOperation, FhirParameter},
    core::expression::{Template, TemplateKind},
};

/// The media type of FHIR's JSON (FHIR R4, http.html "Content Types and encodings").
const MEDIA_TYPE: &str = "application/fhir+json";

/// Names and values of search parameters.
type Parameters = Vec<(String, Template)>;

/// One interaction.
#[derive(Clone, Debug, PartialEq)]
pub enum FhirDefinition {
    /// Reads one resource.
    Read {
        /// Its type.
        type_: String,
        /// Its id.
        id: Template,
    },
    /// Searches resources of one type.
    Search {
        /// Their type.
        type_: String,
        /// What they must match.
        parameters: Vec<(String, Template)>,
    },
    /// Creates a resource.
    Create {
        /// The resource as JSON text.
        resource: Template,
        /// Nothing is created if a resource matches; no condition when empty.
        if_none_exist: Vec<(String, Template)>,
    },
    /// Replaces a resource.
    Update {
        /// Its type.
        type_: String,
        /// Its id.
        id: Template,
        /// The resource as JSON text.
        resource: Template,
        /// The version that is replaced.
        if_match: Option<Template>,
    },
    /// Several changes at once.
    Transaction {
        /// The Bundle as JSON text.
        bundle: Template,
    },
    /// An operation.
    Operation {
        /// Its name with `$`.
        name: String,
        /// The type that it works on.
        type_: Option<String>,
        /// The resource that it works on.
        id: Option<Template>,
        /// Parameters in the URL.
        parameters: Vec<(String, Template)>,
        /// What is posted, as JSON text.
        body: Option<Template>,
        /// Whether it changes anything.
        affects_state: bool,
    },
}

impl FhirDefinition {
    /// Reads an interaction; `None` when something is wrong with it, which has been noted then.
    pub(super) fn read(call: &FhirCall, texts: &mut impl Texts) -> Option<Self> {
        let FhirCall { read, search, create, update, transaction, operation } = call;
        let set = [
            read.is_some(),
            search.is_some(),
            create.is_some(),
            update.is_some(),
            transaction.is_some(),
            operation.is_some(),
        ];
        if set.into_iter().filter(|s| *s).count() != 1 {
            let message = "exactly one of read, search, create, update, transaction and operation must be set";
            texts.fault("call.fhir", message);
            return None;
        }
        if let Some(read) = read {
            let id = texts.template("call.fhir.read.id", &read.id, TemplateKind::Plain)?;
            return Some(Self::Read { type_: read.type_.clone(), id });
        }
        if let Some(search) = search {
            let parameters = parameters("call.fhir.search.parameters", &search.parameters, texts)?;
            return Some(Self::Search { type_: search.type_.clone(), parameters });
        }
        if let Some(create) = create {
            return Some(Self::Create {
                resource: texts.template("call.fhir.create.resource", &create.resource, TemplateKind::Json)?,
                if_none_exist: parameters("call.fhir.create.ifNoneExist", &create.if_none_exist, texts)?,
            });
        }
        if let Some(update) = update {
            return Some(Self::Update {
                type_: update.type_.clone(),
                id: texts.template("call.fhir.update.id", &update.id, TemplateKind::Plain)?,
                resource: texts.template("call.fhir.update.resource", &update.resource, TemplateKind::Json)?,
                if_match: optional("call.fhir.update.ifMatch", update.if_match.as_ref(), TemplateKind::Plain, texts)?,
            });
        }
        if let Some(transaction) = transaction {
            let bundle = texts.template("call.fhir.transaction.bundle", &transaction.bundle, TemplateKind::Json)?;
            return Some(Self::Transaction { bundle });
        }
        read_operation(operation.as_ref()?, texts)
    }

    /// Whether doing it twice is as good as once, as far as the standard says: of what changes something, an update and a
    /// conditional create (FHIR R4 §3.1.0.4, §3.1.0.8.1).
    pub(super) const fn is_idempotent(&self) -> bool {
        match self {
            Self::Read { .. } | Self::Search { .. } | Self::Update { .. } => true,
            Self::Create { if_none_exist, .. } => !if_none_exist.is_empty(),
            Self::Transaction { .. } => false,
            Self::Operation { affects_state, .. } => !*affects_state,
        }
    }
}

fn read_operation(operation: &FhirOperation, texts: &mut impl Texts) -> Option<FhirDefinition> {
    if operation.id.is_some() && operation.type_.is_none() {
        texts.fault("call.fhir.operation.id", "id names a resource together with its type: set type, or remove id");
        return None;
    }
    let affects_state = operation.affects_state.unwrap_or(operation.body.is_some());
    if !operation.parameters.is_empty() && (affects_state || operation.body.is_some()) {
        let message = "parameters are for GET, which neither takes a body nor affects state: put them into body";
        texts.fault("call.fhir.operation.parameters", message);
        return None;
    }
    Some(FhirDefinition::Operation {
        name: operation.name.clone(),
        type_: operation.type_.clone(),
        id: optional("call.fhir.operation.id", operation.id.as_ref(), TemplateKind::Plain, texts)?,
        parameters: parameters("call.fhir.operation.parameters", &operation.parameters, texts)?,
        body: optional("call.fhir.operation.body", operation.body.as_ref(), TemplateKind::Json, texts)?,
        affects_state,
    })
}

fn parameters(field: &str, list: &[FhirParameter], texts: &mut impl Texts) -> Option<Parameters> {
    let compiled = list.iter().enumerate().map(|(i, parameter)| {
        let value = texts.template(&format!("{field}[{i}].value"), &parameter.value, TemplateKind::Search)?;
        Some((parameter.name.clone(), value))
    });
    compiled.collect()
}

/// `Some(None)` when there is no text.
#[allow(clippy::option_option, reason = "no text and a wrong text are different things")]
fn optional(
    field: &str,
    text: Option<&String>,
    kind: TemplateKind,
    texts: &mut impl Texts,
) -> Option<Option<Template>> {
    match text {
        Some(text) => texts.template(field, text, kind).map(Some),
        None => Some(None),
    }
}
