//! What a call sends: read once from the definition, filled in for each attempt; and what its answer means.

use serde_json::{Value, json};

use super::{
    dicom::DicomDefinition,
    fhir::FhirDefinition,
    outcome::{CallResult, Failure},
    view::{HttpRequest, InterfaceView, Wire},
};
use crate::{
    api::{
        call::{Call, HttpCall, HttpMethod},
        vocabulary::{ErrorClass, Protocol, Safety},
    },
    core::{
        expression::{ExpressionError, Template, TemplateKind},
        hl7::{
            ack::{Ack, Code},
            outgoing,
        },
    },
};

/// Where the texts of a call are compiled, and what is wrong with them is noted. Fields are named from the step on, such as
/// `call.http.path`.
pub(super) trait Texts {
    /// A compiled template; `None` when it is wrong, which has been noted then.
    fn template(&mut self, field: &str, text: &str, kind: TemplateKind) -> Option<Template>;
    /// Notes what is wrong.
    fn fault(&mut self, field: &str, message: &str);
}

/// What is sent.
#[derive(Clone, Debug, PartialEq)]
pub enum RequestDefinition {
    /// An HTTP request.
    Http(HttpDefinition),
    /// An interaction with a FHIR server.
    Fhir(FhirDefinition),
    /// A message of HL7 version 2.
    Hl7v2(Template),
    /// DICOM.
    Dicom(DicomDefinition),
}

/// An HTTP request.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpDefinition {
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

/// An HTTP request whose values are filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub method: &'static str,
    /// Path and query below the interface's base path.
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Option<String>,
}

impl RequestDefinition {
    /// Reads what a call sends; `None` when something is wrong with it, which has been noted then.
    pub(super) fn read(call: &Call, texts: &mut impl Texts) -> Option<Self> {
        match (&call.http, &call.fhir, &call.hl7v2, &call.dicom) {
            (Some(http), None, None, None) => HttpDefinition::read(http, texts).map(Self::Http),
            (None, Some(fhir), None, None) => FhirDefinition::read(fhir, texts).map(Self::Fhir),
            (None, None, Some(hl7v2), None) => {
                texts.template("call.hl7v2.message", &hl7v2.message, TemplateKind::Hl7).map(Self::Hl7v2)
            }
            (None, None, None, Some(dicom)) => DicomDefinition::read(dicom, texts).map(Self::Dicom),
            _ => {
                texts.fault("call", "exactly one of http, fhir, hl7v2 and dicom must be set");
                None
            }
        }
    }

    /// Whether it may be repeated, where the step does not say.
    pub(super) fn safety(&self) -> Safety {
        let idempotent = match self {
            Self::Http(http) => http.method.is_idempotent(),
            Self::Fhir(fhir) => fhir.is_idempotent(),
            // sent again it has the same MSH-10, by which a receiver tells; and neither an echo nor a question has an effect
            Self::Hl7v2(_) | Self::Dicom(_) => true,
        };
        if idempotent { Safety::Idempotent } else { Safety::AtMostOnce }
    }

    /// Whether it can be sent to an interface of this protocol.
    pub(super) const fn fits(&self, protocol: Protocol) -> bool {
        match self {
            Self::Http(_) => protocol.speaks_http(),
            Self::Fhir(_) => matches!(protocol, Protocol::Fhir),
            Self::Hl7v2(_) => matches!(protocol, Protocol::Hl7v2),
            Self::Dicom(_) => matches!(protocol, Protocol::Dicom),
        }
    }

    /// The word for what an interface must speak.
    pub(super) const fn language(&self) -> &'static str {
        match self {
            Self::Http(_) => "HTTP",
            Self::Fhir(_) => "FHIR",
            Self::Hl7v2(_) => "HL7v2",
            Self::Dicom(_) => "DICOM",
        }
    }

    /// The request to an interface of the service of this name, with its values; what is wrong with them, by field and never by
    /// value.
    pub(super) fn wire(
        &self,
        fill: &dyn Fn(&Template) -> Result<String, ExpressionError>,
        dns_name: &str,
        interface: &InterfaceView,
    ) -> Result<Wire, String> {
        let request = match self {
            Self::Http(http) => http.request(fill).map_err(|e| e.to_string())?,
            Self::Fhir(fhir) => fhir.request(fill)?,
            Self::Hl7v2(message) => {
                let text = fill(message).map_err(|e| e.to_string())?;
                return outgoing::read(&text).map(Wire::Hl7v2).map_err(|e| format!("call.hl7v2.message: {e}"));
            }
            Self::Dicom(dicom) => return dicom.wire(fill, interface),
        };
        Ok(Wire::Http(request.to(dns_name, interface)))
    }

    /// What expressions see as `result`, or why what came is a failure.
    pub(super) fn settle(&self, what: CallResult) -> Result<Value, Failure> {
        match (self, what) {
            (_, CallResult::Failed { class, sent, message }) => Err(Failure { class, known: !sent, message }),
            (Self::Http(http), CallResult::Answered(answer)) if answer.is_expected(&http.expect_status) => {
                Ok(answer.to_value("body"))
            }
            (Self::Http(_), CallResult::Answered(answer)) => Err(answer.failure()),
            (Self::Fhir(fhir), CallResult::Answered(answer)) => fhir.settle(&answer),
            (Self::Hl7v2(_), CallResult::Acknowledged(ack)) => acknowledged(&ack),
            (Self::Dicom(dicom), what) => dicom.settle(what),
            // a request and its answer are of one protocol
            _ => Err(foreign()),
        }
    }
}

/// What an acknowledgement says of the message: taken by AA and CA. AE and CE are tried again where the application says that it is
/// its own trouble: 206 (record locked) and 207 (internal error) of HL7 table 0357; all else is refused for good.
fn acknowledged(ack: &Ack) -> Result<Value, Failure> {
    let class = match (ack.code, ack.error) {
        (Code::Accepted | Code::Committed, _) => return Ok(json!({ "code": ack.code.as_str() })),
        (Code::Error, Some(206)) => ErrorClass::Overloaded,
        (Code::Error, Some(207)) => ErrorClass::ServerError,
        (Code::Error | Code::Rejected, _) => ErrorClass::Rejected,
    };
    let error = ack.error.map(|e| format!(" with error {e}")).unwrap_or_default();
    Err(Failure { class, known: true, message: format!("the receiver answered {}{error}", ack.code.as_str()) })
}

/// The answer is not to what was asked.
pub(super) fn foreign() -> Failure {
    Failure {
        class: ErrorClass::InvalidResult,
        known: false,
        message: "the answer is of another protocol than the request".to_owned(),
    }
}

impl Request {
    /// To an interface of the service of this name.
    fn to(self, dns_name: &str, interface: &InterfaceView) -> HttpRequest {
        let path = format!("{}{}", interface.base_path.trim_end_matches('/'), self.path);
        let port = interface.port;
        HttpRequest {
            host: if port == 80 { dns_name.to_owned() } else { format!("{dns_name}:{port}") },
            method: self.method,
            path: if path.is_empty() { "/".to_owned() } else { path },
            headers: self.headers,
            body: self.body,
        }
    }
}

impl HttpDefinition {
    fn read(http: &HttpCall, texts: &mut impl Texts) -> Option<Self> {
        let path = texts.template("call.http.path", &http.path, TemplateKind::Url)?;
        let mut headers = Vec::new();
        for (h, header) in http.headers.iter().enumerate() {
            let field = format!("call.http.headers[{h}].value");
            headers.push((header.name.clone(), texts.template(&field, &header.value, TemplateKind::Plain)?));
        }
        let body = match &http.body {
            Some(text) => Some(texts.template("call.http.body", text, TemplateKind::Plain)?),
            None => None,
        };
        let method = http.method.unwrap_or(HttpMethod::Get);
        Some(Self { method, path, headers, body, expect_status: http.expect_status.clone() })
    }

    fn request(&self, fill: &dyn Fn(&Template) -> Result<String, ExpressionError>) -> Result<Request, ExpressionError> {
        let mut headers = Vec::with_capacity(self.headers.len());
        for (name, value) in &self.headers {
            headers.push((name.clone(), fill(value)?));
        }
        Ok(Request {
            method: self.method.as_str(),
            path: fill(&self.path)?,
            headers,
            body: self.body.as_ref().map(fill).transpose()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acknowledgement_says_whether_a_message_is_sent_again() {
        let of = |code, error| acknowledged(&Ack { code, control_id: "M1".to_owned(), error });
        assert_eq!(of(Code::Accepted, None), Ok(json!({"code": "AA"})));
        assert_eq!(of(Code::Committed, None), Ok(json!({"code": "CA"})));
        for (code, error, class) in [
            (Code::Error, Some(206), ErrorClass::Overloaded),
            (Code::Error, Some(207), ErrorClass::ServerError),
            (Code::Error, Some(101), ErrorClass::Rejected),
            (Code::Error, None, ErrorClass::Rejected),
            (Code::Rejected, Some(207), ErrorClass::Rejected),
            (Code::Rejected, Some(200), ErrorClass::Rejected),
        ] {
            let failure = of(code, error).unwrap_err();
            assert_eq!((failure.class, failure.known), (class, true), "{}", failure.message);
        }
        assert_eq!(of(Code::Error, Some(207)).unwrap_err().message, "the receiver answered AE with error 207");
    }
}
