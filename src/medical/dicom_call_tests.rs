//! What a step sees of an echo, and of a question that is refused.

use std::collections::BTreeMap;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;
use crate::core::dicom::{
    attribute::Scope,
    contexts::{Accepted, Proposal},
    find::Query,
};

fn titles() -> Titles {
    Titles { called: "ARCHIVE".to_owned(), calling: "MEDLEY".to_owned() }
}

/// A service on loopback that answers the request for an association with these bytes, and closes then.
async fn says(answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 1024];
        let _ = stream.read(&mut request).await;
        let _ = stream.write_all(answer).await;
        let _ = stream.shutdown().await;
        // until the caller hangs up: a close with unread bytes would be a reset
        while stream.read(&mut request).await.is_ok_and(|n| n > 0) {}
    });
    address
}

fn echo() -> Ask {
    Ask::Echo(Proposal::default())
}

async fn class(answer: &'static [u8]) -> Option<(ErrorClass, bool)> {
    match call(&Trust::default(), says(answer).await, None, &titles(), echo(), Duration::from_secs(5)).await {
        CallResult::Failed { class, sent, .. } => Some((class, sent)),
        _ => None,
    }
}

#[tokio::test]
async fn each_fault_has_a_class_that_says_whether_to_try_again() {
    use ErrorClass as E;
    for (answer, wanted) in [
        (&b"\x03\0\0\0\0\x04\0\x01\x01\x07"[..], (E::Configuration, false)),
        (b"\x03\0\0\0\0\x04\0\x01\x01\x03", (E::Configuration, false)),
        (b"\x03\0\0\0\0\x04\0\x01\x01\x01", (E::Rejected, false)),
        (b"\x03\0\0\0\0\x04\0\x02\x01\x01", (E::Overloaded, false)),
        (b"\x03\0\0\0\0\x04\0\x01\x03\x01", (E::Overloaded, false)),
        (b"\x07\0\0\0\0\x04\0\0\0\0", (E::Connection, true)),
        (b"", (E::Connection, true)),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", (E::InvalidResult, true)),
    ] {
        assert_eq!(class(answer).await, Some(wanted), "{answer:?}");
    }
}

#[test]
fn a_status_is_an_answer() {
    assert_eq!(result(Ok(Done::Echoed(Accepted::new())), ""), CallResult::Echoed { status: 0 });
    assert_eq!(result(Err(Failure::Dicom(dicom::Failure::Status(0x0122))), ""), CallResult::Echoed { status: 0x0122 });
}

#[tokio::test]
async fn nobody_there_is_no_connection_and_silence_is_a_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let silent = call(&Trust::default(), address, None, &titles(), echo(), Duration::from_millis(100)).await;
    let CallResult::Failed { class: ErrorClass::Timeout, sent: true, message } = silent else { panic!("{silent:?}") };
    assert_eq!(message, "no whole answer within 100ms");
    drop(listener);
    let gone = call(&Trust::default(), address, None, &titles(), echo(), Duration::from_secs(5)).await;
    assert!(matches!(gone, CallResult::Failed { class: ErrorClass::Connection, sent: false, .. }), "{gone:?}");
}

#[tokio::test]
async fn who_takes_no_questions_is_not_asked_again() {
    let query = Query { scope: Scope::of(None, None), keys: BTreeMap::new(), returned: Vec::new(), limit: 1 };
    // A-ASSOCIATE-AC with the context refused: its SOP class is not supported
    const REFUSED: [u8; 82] = {
        let mut bytes = [0; 82];
        bytes[0] = 2;
        bytes[5] = 76;
        bytes[74] = 0x21;
        bytes[77] = 4;
        bytes[78] = 1;
        bytes[80] = 3;
        bytes
    };
    let (trust, titles, address) = (Trust::default(), titles(), says(&REFUSED).await);
    let what = call(&trust, address, None, &titles, Ask::Find(query, 0), Duration::from_secs(5)).await;
    let CallResult::Failed { class: ErrorClass::Configuration, sent: false, message } = what else {
        panic!("{what:?}")
    };
    assert_eq!(message, "the service does not take questions of this model: it refuses its SOP class for C-FIND");
}
