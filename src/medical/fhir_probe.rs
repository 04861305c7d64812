//! The `CapabilityStatement` of a FHIR server, and whether it fits.

use tokio::io::{AsyncRead, AsyncWrite};

use super::http_probe;
use crate::{
    api::{interface::FhirInterface, medical_service::EndpointReason},
    core::{
        discovery::{
            capability::{Facts, MAX_STATEMENT, missing, read},
            target::Probed,
        },
        monitoring::health::ProbeOutcome,
    },
};

/// The media type of FHIR's JSON (FHIR R4, http.html "Content Types and encodings").
const FHIR_JSON: &str = "application/fhir+json";

/// Asks for the statement at `path`, without a token: FHIR leaves it open (capabilitystatement.html). The caller bounds the time.
pub async fn ask<S>(stream: S, path: &str, host: &str, declared: &FhirInterface) -> Probed
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let body = match statement(stream, path, host).await {
        Ok(body) => body,
        Err(reason) => return ProbeOutcome::Failed(reason).into(),
    };
    let Ok(facts) = read(&body) else { return ProbeOutcome::Failed(EndpointReason::MetadataInvalid).into() };
    let fits = missing(declared, &facts).is_empty();
    let outcome = if fits { ProbeOutcome::Answered } else { ProbeOutcome::Failed(EndpointReason::CapabilityMismatch) };
    Probed { facts: Some(Facts::Fhir(facts)), ..Probed::from(outcome) }
}

async fn statement<S>(stream: S, path: &str, host: &str) -> Result<Vec<u8>, EndpointReason>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let answer = http_probe::get(stream, path, host, FHIR_JSON).await?;
    match answer.status {
        200 => answer.whole(MAX_STATEMENT).await?.ok_or(EndpointReason::MetadataInvalid),
        401 | 403 => Err(EndpointReason::Unauthorized),
        _ => Err(EndpointReason::HttpStatus),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, duplex},
        time::timeout,
    };

    use super::*;
    use EndpointReason as E;

    fn statement(version: &str) -> Value {
        json!({"resourceType": "CapabilityStatement", "fhirVersion": version, "rest": [{"mode": "server", "resource": [
            {"type": "Patient", "interaction": [{"code": "read"}]}]}]})
    }

    /// What a server that answers this is found to be; `None` when the probe does not end by itself.
    async fn found(answer: &[u8], closes: bool) -> Option<Probed> {
        let declared: FhirInterface = serde_json::from_value(
            json!({"version": "R4", "resources": [{"type": "Patient", "interactions": ["read"]}]}),
        )
        .unwrap();
        let (here, mut there) = duplex(64 * 1024);
        let answer = answer.to_vec();
        let peer = async move {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(there.read_u8().await.unwrap());
            }
            let request = String::from_utf8(request).unwrap();
            assert!(request.starts_with("GET /r4/metadata HTTP/1.1\r\n"), "{request}");
            assert!(request.contains("accept: application/fhir+json\r\n"), "{request}");
            assert!(!request.contains("authorization"), "{request}");
            // a probe that has seen enough closes
            let _ = there.write_all(&answer).await;
            if !closes {
                std::future::pending::<()>().await;
            }
        };
        let probe = timeout(Duration::from_secs(60), ask(here, "/r4/metadata", "ehr", &declared));
        tokio::join!(probe, async { timeout(Duration::from_secs(90), peer).await }).0.ok()
    }

    fn ok(body: &str) -> Vec<u8> {
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
    }

    #[tokio::test(start_paused = true)]
    async fn each_fault_of_a_fhir_server_ends_in_its_reason() {
        let whole = ok(&statement("4.0.1").to_string());
        let flood = format!("HTTP/1.1 200 OK\r\n\r\n[\"{}", "x".repeat(MAX_STATEMENT + 1));
        let none: &[u8] = b"";
        let cases: [(&str, &[u8], Result<(), E>); 14] = [
            ("as declared", &whole, Ok(())),
            ("another release", &ok(&statement("5.0.0").to_string()), Err(E::CapabilityMismatch)),
            ("a draft of another release", &ok(&statement("4.1.0").to_string()), Err(E::CapabilityMismatch)),
            ("a page for people", &ok("<html><body>Welcome</body></html>"), Err(E::MetadataInvalid)),
            ("another resource", &ok("{\"resourceType\": \"OperationOutcome\"}"), Err(E::MetadataInvalid)),
            ("JSON that is cut", &ok("{\"resourceType\": \"CapabilityStatement\""), Err(E::MetadataInvalid)),
            ("no body", &ok(""), Err(E::MetadataInvalid)),
            ("more than fits", flood.as_bytes(), Err(E::MetadataInvalid)),
            ("a token wanted", b"HTTP/1.1 401 Unauthorized\r\n\r\n", Err(E::Unauthorized)),
            ("forbidden", b"HTTP/1.1 403 Forbidden\r\n\r\n", Err(E::Unauthorized)),
            ("elsewhere", b"HTTP/1.1 302 Found\r\nlocation: /login\r\n\r\n", Err(E::HttpStatus)),
            ("down", b"HTTP/1.1 503 Service Unavailable\r\n\r\n", Err(E::HttpStatus)),
            ("another protocol", b"SSH-2.0-OpenSSH_9.2\r\n", Err(E::HttpInvalid)),
            ("closed", none, Err(E::TcpFailed)),
        ];
        for (what, answer, expected) in cases {
            let outcome = match expected {
                Ok(()) => ProbeOutcome::Answered,
                Err(reason) => ProbeOutcome::Failed(reason),
            };
            let found = found(answer, true).await.unwrap();
            assert_eq!(found.outcome, outcome, "{what}");
            let told = matches!(expected, Ok(()) | Err(E::CapabilityMismatch));
            assert_eq!(found.facts.is_some(), told, "{what}");
        }
        let half = &whole[..whole.len() - 5];
        assert_eq!(found(half, true).await.unwrap().outcome, ProbeOutcome::Failed(E::TcpFailed), "cut off");
        assert_eq!(found(half, false).await, None, "what drips is the caller's to bound");
    }
}
