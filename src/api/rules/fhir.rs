//! Rules of what a `call` sends.

use serde_json::Value;

use super::{extension, rule};

/// A call of a step.
pub fn call() -> Value {
    extension(&[
        rule(
            "",
            "[has(self.http), has(self.fhir), has(self.hl7v2), has(self.dicom)].filter(b, b).size() == 1",
            "exactly one of http, fhir, hl7v2 and dicom must be set: it says what is sent",
        ),
        rule(
            "",
            "has(self.service) != has(self.query)",
            "exactly one of service and query must be set: it says who is called",
        ),
        rule(
            ".interface",
            "!has(self.interface) || !has(self.query)",
            "the answer of a query says which interface is called: remove interface, or set it in the ServiceQuery",
        ),
    ])
}

/// A message of HL7 version 2.
pub fn hl7_message() -> Value {
    extension(&[rule(
        "",
        "self.startsWith('MSH|^~\\\\&|')",
        "must begin with the segment MSH and the separators that the standard recommends, as the description of the field shows",
    )])
}

/// An interaction with a FHIR server.
pub fn fhir_call() -> Value {
    extension(&[rule(
        "",
        "[has(self.read), has(self.search), has(self.create), has(self.update), has(self.transaction), has(self.operation)].filter(b, b).size() == 1",
        "exactly one of read, search, create, update, transaction and operation must be set",
    )])
}

/// The name of a resource type.
pub fn fhir_type() -> Value {
    extension(&[rule(
        "",
        "self.matches('^[A-Z][A-Za-z]*$')",
        "must be the name of a FHIR resource type, such as Patient or ServiceRequest",
    )])
}

/// The name of a search parameter, with modifier and chain.
pub fn fhir_parameter_name() -> Value {
    extension(&[rule(
        "",
        "self.matches('^[A-Za-z_][A-Za-z0-9_.:-]*$')",
        "must be the name of a search parameter, such as status, code:in or subject:Patient.identifier",
    )])
}

/// The name of an operation.
pub fn fhir_operation_name() -> Value {
    extension(&[rule(
        "",
        "self.matches('^[$][A-Za-z][A-Za-z0-9-]*$')",
        "must be the name of an operation with its $, such as $everything",
    )])
}

/// An operation.
pub fn fhir_operation() -> Value {
    extension(&[
        rule(
            ".id",
            "!has(self.id) || has(self.type)",
            "id names a resource together with its type: set type, or remove id",
        ),
        rule(
            ".parameters",
            "!has(self.parameters) || !has(self.body)",
            "parameters are for GET and body is for POST: put the parameters into body, or remove one of the two",
        ),
        rule(
            ".parameters",
            "!has(self.parameters) || !has(self.affectsState) || !self.affectsState",
            "an operation that affects state is sent with POST (FHIR R4 §3.2.0): give a Parameters resource as body instead",
        ),
    ])
}
