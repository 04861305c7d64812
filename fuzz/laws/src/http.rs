//! HTTP: answers to probes, and headers that steps read.

use std::time::Duration;

use jiff::Timestamp;
use medley::{
    api::interface::FhirInterface,
    core::{
        coordination::{outcome::Answer, retry_after},
        monitoring::health::ProbeOutcome,
    },
    medical::fhir_probe,
};
use serde_json::Value;
use tokio::io::{AsyncWriteExt, duplex};

use crate::{Codec, run};

pub(crate) const HTTP: Codec = Codec {
    name: "http",
    law: http,
    // buffers on both sides of a connection
    base: 256 * 1024,
    per_byte: 400,
    tokens: &[
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.0 503 x\r\n",
        b"content-length: 20\r\n",
        b"content-length: 99999999999999999999\r\n",
        b"transfer-encoding: chunked\r\n",
        b"\r\n",
        b"ffffffff\r\n",
        b"5\r\nhello\r\n",
        b"0\r\n\r\n",
        b"{\"resourceType\":\"CapabilityStatement\",\"fhirVersion\":\"4.0.1\",\"rest\":[{\"mode\":\"server\"}]}",
    ],
};

/// A probe ends when the other side closes, and facts come with a whole statement only.
fn http(bytes: &[u8]) {
    let probed = run(async {
        let (near, mut far) = duplex(bytes.len() + 4096);
        let sent = async {
            // a probe that has seen enough closes
            let _ = far.write_all(bytes).await;
            let _ = far.shutdown().await;
        };
        let declared = FhirInterface::default();
        tokio::join!(fhir_probe::ask(near, "/metadata", "ehr", &declared), sent).0
    });
    assert_eq!(probed.facts.is_some(), probed.outcome == ProbeOutcome::Answered);
}

pub(crate) const RETRY_AFTER: Codec = Codec {
    name: "retry_after",
    law: retry_after_header,
    base: 16 * 1024,
    per_byte: 40,
    tokens: &[
        b"120",
        b"Sun, 06 Nov 1994 08:49:37 GMT",
        b"Sunday, 06-Nov-94",
        b" GMT",
        b"-",
        b"99",
        b" ",
        b":",
        b"9999",
    ],
};

/// A wait is read or is none, and is never nothing.
fn retry_after_header(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let answer = Answer { status: 503, headers: vec![("retry-after".to_owned(), text)], body: Value::Null };
    for now in [Timestamp::MIN, Timestamp::UNIX_EPOCH, Timestamp::MAX] {
        assert_ne!(retry_after::asked(&answer, now), Some(Duration::ZERO));
    }
}
