//! The registry: parameters of requests, and values that lie in a store.

use medley::core::registry::{
    Answer, encode,
    filter::{Filter, MOST},
    key_of, read,
};
use serde_json::json;

use crate::{Codec, case};

pub(crate) const REGISTRY: Codec = Codec {
    name: "registry",
    law: registry,
    base: 64 * 1024,
    per_byte: 800,
    tokens: &[
        b"namespace=",
        b"protocol=FHIR",
        b"capability=",
        b"ready=true",
        b"limit=500",
        b"after=a/b",
        b"&",
        b"=",
        b"/",
        b"ct.triage",
        b"{\"managedBy\":\"medley.health\",\"lease\":\"u\",\"epoch\":1}",
        b"{\"managedBy\":",
        b"9223372036854775808",
    ],
};

/// A request is understood within its bounds or refused without its values; a value's mark is read as it was written.
fn registry(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let pairs = text.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    match Filter::parse(pairs, case(bytes).is_multiple_of(2)) {
        Ok(filter) => {
            assert!(filter.limit.is_none_or(|n| (1..=MOST).contains(&n)));
            assert!(filter.namespace.is_none_or(|n| n.len() <= 63 && n.is_ascii()));
        }
        Err(problem) => assert!(problem.status == 400 && problem.detail.len() < 200 && problem.detail.is_ascii()),
    }
    let _ = key_of(&text);
    if let Answer::Ours(holder) = read(bytes) {
        assert_eq!(read(&encode(&json!({"name": "x"}), &holder)), Answer::Ours(holder));
    }
}
