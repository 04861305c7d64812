//! HL7 version 2, DICOM and FHIR.

use std::collections::BTreeMap;

use jiff::Timestamp;
use medley::{
    api::{
        dicom::{DicomAttribute, DicomLevel},
        interface::FhirInterface,
    },
    core::{
        coordination::{fhir::FhirDefinition, outcome::Answer},
        dicom::{
            Titles,
            association::{Ask, Association, Next},
            attribute::Scope,
            command::{self, Answers},
            contexts::Proposal,
            find::Query,
            pdu::MAX_PDU,
        },
        discovery::capability,
        expression::{Template, TemplateKind},
        grpc::{self, Serving, Status},
        hl7::{
            ack::{self, MAX_ACK},
            mllp::{FrameError, Frames, frame},
            outgoing,
        },
    },
};
use serde_json::{Value, json};

use crate::{Codec, case};

pub(crate) const HL7_IN: Codec = Codec {
    name: "hl7_in",
    law: hl7_in,
    base: 16 * 1024,
    per_byte: 80,
    tokens: &[
        b"\x0b",
        b"\x1c\r",
        b"\x1c",
        b"\r",
        b"\n",
        b"MSH|^~\\&|",
        b"MSA|AA|",
        b"MSA|CE|1\r",
        b"ERR|||207",
        b"|",
        b"^",
    ],
};

/// Frames come out alike however their bytes are cut, and each is an acknowledgement or is none.
fn hl7_in(bytes: &[u8]) {
    let cut = case(bytes);
    let read = |size: usize| -> (Vec<Vec<u8>>, Option<FrameError>) {
        let (mut frames, mut found) = (Frames::new(MAX_ACK), Vec::new());
        for piece in bytes.chunks(size) {
            frames.push(piece);
            loop {
                match frames.next_message() {
                    Ok(Some(message)) => found.push(message),
                    Ok(None) => break,
                    Err(error) => return (found, Some(error)),
                }
            }
        }
        (found, None)
    };
    let whole = read(bytes.len().max(1));
    assert_eq!(read(usize::from(cut).max(1)), whole);
    for message in whole.0.iter().map(Vec::as_slice).chain([bytes]) {
        if let Ok(ack) = ack::read(message) {
            // a character that is none takes the place of a byte with three
            assert!(ack.control_id.len() <= 3 * message.len() && ack.control_id.trim() == ack.control_id);
        }
    }
}

pub(crate) const HL7_OUT: Codec = Codec {
    name: "hl7_out",
    law: hl7_out,
    base: 16 * 1024,
    per_byte: 160,
    tokens: &[
        b"MSH|^~\\&|",
        b"A|B|C|D|||ADT^A08||P|2.5",
        b"|",
        b"\n",
        b"\r",
        b"\x0b",
        b"\x1c",
        b"NE",
        b"\xc3\xa9",
        b"PID|1",
    ],
};

/// A message that is sent is one frame with its control id, and a value stays in its field.
fn hl7_out(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(message) = outgoing::read(&text) {
        let sent = outgoing::complete(&message, "M1", Timestamp::UNIX_EPOCH);
        let header = sent.split(|b| *b == b'\r').next().unwrap_or_default();
        assert_eq!(header.split(|b| *b == b'|').nth(9), Some(&b"M1"[..]));
        let mut frames = Frames::new(sent.len() + 3);
        frames.push(&frame(&sent));
        assert_eq!(frames.next_message(), Ok(Some(sent)));
        assert_eq!(frames.next_message(), Ok(None));
    }
    let mut escaped = String::new();
    outgoing::escape(&text, &mut escaped);
    assert!(!escaped.contains(['|', '^', '&', '~', '\r', '\n', '\u{b}', '\u{1c}']));
}

pub(crate) const DICOM: Codec = Codec {
    name: "dicom",
    law: dicom,
    base: 64 * 1024,
    per_byte: 200,
    tokens: &[
        b"\x02\x00\x00\x00\x00\x4c",
        b"\x04\x00\x00\x00\x00\x20",
        b"\x03\x00\x00\x00\x00\x04\x00",
        b"\x21\x00\x00\x04\x01\x00\x00\x00",
        b"\x05\x00\x00\x00\x00\x04\x00\x00\x00\x00",
        b"\x00\x00\x00\x01\x02\x00\x00\x00\x30\x80",
        b"\x00\x00\x20\x01\x02\x00\x00\x00\x01\x00",
        b"\x00\x00\x00\x09\x02\x00\x00\x00\x00\x00",
        b"\x00\x00\x00\x00",
    ],
};

/// An association, for an echo or a question, ends alike however its bytes are cut.
fn dicom(bytes: &[u8]) {
    let cut = usize::from(case(bytes)).max(1);
    let titles = Titles { called: "PACS".to_owned(), calling: "MEDLEY".to_owned() };
    let keys = BTreeMap::from([(DicomAttribute::ModalitiesInStudy, "CT".to_owned())]);
    let returned = vec![DicomAttribute::StudyInstanceUid];
    let query = Query { scope: Scope::StudyRoot(DicomLevel::Study), keys, returned, limit: 3 };
    let talk = |ask: Ask, size: usize| {
        let Ok(mut exchange) = Association::new(&titles, ask) else { panic!("the titles can be sent") };
        let (mut pieces, mut said) = (bytes.chunks(size), Vec::new());
        loop {
            match exchange.step() {
                Next::Ended(what) => return (said, what),
                Next::Send(bytes) => said.push(bytes.len()),
                Next::Receive => match pieces.next() {
                    Some(piece) => exchange.push(piece),
                    None => exchange.closed(),
                },
            }
        }
    };
    for ask in [Ask::Echo(Proposal::default()), Ask::Find(query.clone(), 2)] {
        assert_eq!(talk(ask.clone(), cut), talk(ask, bytes.len().clamp(1, MAX_PDU)));
    }
    let _ = command::response(bytes, Answers::Echo);
    let _ = query.read(bytes);
}

pub(crate) const GRPC: Codec = Codec {
    name: "grpc",
    law: grpc_answer,
    base: 16 * 1024,
    per_byte: 8,
    tokens: &[
        b"\x00\x00\x00\x00\x02",
        b"\x08\x01",
        b"\x08\x02",
        b"\x12\x03abc",
        b"\x1d\x00\x00\x00\x00",
        b"\xff\xff\xff\xff",
        b"12",
    ],
};

/// Who serves has said so, and nothing is read past the length that an answer tells.
fn grpc_answer(bytes: &[u8]) {
    if grpc::read(bytes) == Ok(Serving::Serving) {
        assert!(bytes.len() > 6 && bytes[5..].contains(&1));
        assert!(grpc::read(&bytes[..bytes.len() - 1]).is_err());
    }
    let _ = Status::read(bytes);
}

pub(crate) const FHIR_STATEMENT: Codec =
    Codec { name: "fhir_statement", law: fhir_statement, base: 64 * 1024, per_byte: 400, tokens: JSON };

/// Tokens of FHIR's JSON.
const JSON: &[&[u8]] = &[
    b"{",
    b"}",
    b"[",
    b"[[[[[[[[",
    b"]",
    b",",
    b":",
    b"\"",
    b"\"resourceType\":",
    b"\"CapabilityStatement\"",
    b"\"OperationOutcome\"",
    b"\"Bundle\"",
    b"\"Patient\"",
    b"\"fhirVersion\":\"4.0.1\",",
    b"\"rest\":[{\"mode\":\"server\",\"resource\":[",
    b"{\"type\":\"Patient\",\"interaction\":[{\"code\":\"read\"}]},",
    b"\"issue\":[{\"severity\":\"error\",\"code\":\"transient\"},",
    b"\\ud800",
    b"1e999",
    b"null",
];

/// What is kept is bounded and has the standard's form.
fn fhir_statement(bytes: &[u8]) {
    let Ok(facts) = capability::read(bytes) else { return };
    assert!(facts.version.len() <= 20 && facts.version.starts_with(|c: char| c.is_ascii_digit()));
    assert!(facts.resources.len() <= 250 && facts.resources.keys().all(|t| t.len() <= 64 && t.is_ascii()));
    assert!(facts.operations.len() <= 100 && facts.operations.iter().all(|o| o.starts_with('$') && o.len() <= 65));
    assert!(capability::missing(&FhirInterface::default(), &facts).is_empty());
}

pub(crate) const FHIR_ANSWER: Codec =
    Codec { name: "fhir_answer", law: fhir_answer, base: 64 * 1024, per_byte: 800, tokens: JSON };

/// An answer becomes a result or a failure, whose message repeats nothing of what came.
fn fhir_answer(bytes: &[u8]) {
    let (case, body) = (case(bytes), bytes);
    let status = [200, 201, 204, 400, 404, 409, 412, 429, 500, 503][usize::from(case % 10)];
    let text = Template::compile("1", TemplateKind::Url, &Default::default());
    let Ok(text) = text else { panic!("a text without expressions is a template") };
    let asked = match case % 3 {
        0 => FhirDefinition::Read { type_: "Patient".to_owned(), id: text },
        1 => FhirDefinition::Search { type_: "Patient".to_owned(), parameters: Vec::new() },
        _ => FhirDefinition::Create { resource: text, if_none_exist: Vec::new() },
    };
    let json: Option<Value> = serde_json::from_slice(body).ok();
    let is_json = json.is_some();
    let body = json.unwrap_or_else(|| Value::String(String::from_utf8_lossy(body).into_owned()));
    let media_type = if case >= 128 {
        body.as_str().unwrap_or("text/html").chars().take(1024).collect()
    } else {
        "application/fhir+json".to_owned()
    };
    let answer = Answer { status, headers: vec![("content-type".to_owned(), media_type)], body };
    match asked.settle(&answer) {
        Ok(result) => assert!(
            (200..300).contains(&status)
                && result["status"] == json!(status)
                && (is_json || result["resource"].is_null())
        ),
        Err(failure) => assert!(failure.message.len() < 400 && failure.message.is_ascii(), "{}", failure.message),
    }
}
