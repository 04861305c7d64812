//! Messages of HL7 version 2 that steps send. Each has a connection of its own.

use std::net::SocketAddr;

use jiff::Timestamp;
use tokio::time::timeout;

use super::{
    calls::{CONNECT, failed, unconnected},
    mllp::{NoAck, exchange},
    tls::Trust,
};
use crate::{
    api::{medical_service::EndpointReason, vocabulary::ErrorClass},
    core::{
        coordination::outcome::CallResult,
        discovery::target::TlsTarget,
        hl7::outgoing::{complete, control_id},
    },
};

/// Sends a message and waits for its acknowledgement. The caller bounds the time.
pub(super) async fn send(
    trust: &Trust,
    endpoint: SocketAddr,
    tls: Option<&TlsTarget>,
    message: &str,
    idempotency_key: &str,
) -> CallResult {
    let mut stream = match timeout(CONNECT, trust.connect(endpoint, tls)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(reason)) => return unconnected(reason, endpoint),
        Err(_) => return unconnected(EndpointReason::TcpTimeout, endpoint),
    };
    let id = control_id(idempotency_key);
    let found = exchange(&mut stream, &complete(message, &id, Timestamp::now()), &id).await;
    if let (Err(_), Some(reason)) = (&found, stream.refusal()) {
        return unconnected(reason, endpoint);
    }
    let (class, message) = match found {
        Ok(ack) => return CallResult::Acknowledged(ack),
        Err(NoAck::Broken(_) | NoAck::Closed) => {
            (ErrorClass::Connection, format!("the connection broke before the acknowledgement (to {endpoint})"))
        }
        Err(NoAck::Invalid) => {
            (ErrorClass::InvalidResult, "what the receiver answered is no acknowledgement of the message".to_owned())
        }
    };
    failed(class, true, message)
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;
    use crate::core::hl7::mllp::frame;

    const MESSAGE: &str = "MSH|^~\\&|A|B|C|D|||ADT^A08||P|2.5\r";

    /// What comes of a message to a receiver that answers with these bytes, in which `ID` stands for MSH-10, and closes.
    async fn sent(answer: Option<&str>) -> CallResult {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let id = control_id("k");
        let receiver = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut message = Vec::new();
            while !message.ends_with(b"\x1c\r") {
                message.push(stream.read_u8().await.unwrap());
            }
            assert!(String::from_utf8(message).unwrap().contains(&format!("|ADT^A08|{id}|P|2.5\r")));
            if let Some(text) = answer {
                stream.write_all(&frame(text.replace("ID", &id).as_bytes())).await.unwrap();
            }
        };
        let trust = Trust::default();
        tokio::join!(send(&trust, address, None, MESSAGE, "k"), receiver).0
    }

    #[tokio::test]
    async fn each_fault_of_a_receiver_has_its_class() {
        let acknowledged = sent(Some("MSH|^~\\&|C\rMSA|CA|ID\r")).await;
        assert!(matches!(acknowledged, CallResult::Acknowledged(_)), "{acknowledged:?}");
        for (answer, expected) in [
            (Some("MSH|^~\\&|C\rMSA|AA|other\r"), ErrorClass::InvalidResult),
            (Some("MSH|^~\\&|C\rMSA||ID\r"), ErrorClass::InvalidResult),
            (Some("MSH|^~\\&|C\rMSA|ID\r"), ErrorClass::InvalidResult),
            (Some("OK"), ErrorClass::InvalidResult),
            (None, ErrorClass::Connection),
        ] {
            let CallResult::Failed { class, sent: true, .. } = sent(answer).await else { panic!("{answer:?}") };
            assert_eq!(class, expected, "{answer:?}");
        }
    }

    #[tokio::test]
    async fn what_could_not_be_sent_has_had_no_effect() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let result = send(&Trust::default(), address, None, MESSAGE, "k").await;
        assert!(matches!(result, CallResult::Failed { class: ErrorClass::Connection, sent: false, .. }), "{result:?}");
    }
}
