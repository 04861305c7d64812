//! A search of a DICOMweb server (QIDO-RS, PS3.18 §10.6) for a study that it does not have: does it search, and answer in DICOM JSON?
//!
//! A search for any study would read a patient's data with each probe, which servers rightly record.

use tokio::io::{AsyncRead, AsyncWrite};

use super::http_probe;
use crate::api::medical_service::EndpointReason;

/// The media type of DICOM JSON (PS3.18 annex F).
const DICOM_JSON: &str = "application/dicom+json";

/// Searches at `path`. Of the answer no more is read than how it begins. The caller bounds the time.
///
/// # Errors
/// The layer that failed.
pub async fn ask<S>(stream: S, path: &str, host: &str) -> Result<(), EndpointReason>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let answer = http_probe::get(stream, path, host, DICOM_JSON).await?;
    match answer.status {
        // nothing matches (PS3.18 table 10.6.3-2)
        204 => Ok(()),
        // some servers say that it is JSON, and no more
        200 if matches!(answer.media_type.as_str(), DICOM_JSON | "application/json") => match answer.begins().await? {
            Some(b'[') => Ok(()),
            _ => Err(EndpointReason::DicomJsonInvalid),
        },
        200 => Err(EndpointReason::DicomJsonInvalid),
        401 | 403 => Err(EndpointReason::Unauthorized),
        _ => Err(EndpointReason::HttpStatus),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, duplex},
        time::timeout,
    };

    use super::*;
    use EndpointReason as E;

    /// What a server that answers this is found to be; `None` when the probe does not end by itself.
    async fn found(answer: &[u8], closes: bool) -> Option<Result<(), E>> {
        let (here, mut there) = duplex(64 * 1024);
        let answer = answer.to_vec();
        let peer = async move {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(there.read_u8().await.unwrap());
            }
            let request = String::from_utf8(request).unwrap();
            assert!(request.starts_with("GET /dicom-web/studies?limit=1 HTTP/1.1\r\n"), "{request}");
            assert!(request.contains("accept: application/dicom+json\r\n"), "{request}");
            // a probe that has seen enough closes
            let _ = there.write_all(&answer).await;
            if !closes {
                std::future::pending::<()>().await;
            }
        };
        let probe = timeout(Duration::from_secs(60), ask(here, "/dicom-web/studies?limit=1", "pacs"));
        tokio::join!(probe, async { timeout(Duration::from_secs(90), peer).await }).0.ok()
    }

    fn ok(media_type: &str, body: &str) -> Vec<u8> {
        let length = body.len();
        format!("HTTP/1.1 200 OK\r\ncontent-type: {media_type}\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
    }

    #[tokio::test(start_paused = true)]
    async fn each_fault_of_a_dicomweb_server_ends_in_its_reason() {
        let endless = "HTTP/1.1 200 OK\r\ncontent-type: application/dicom+json\r\n\r\n";
        let blanks = format!("{endless}{}", " ".repeat(100_000));
        let cases: [(&str, Vec<u8>, Result<(), E>); 15] = [
            ("nothing matches", ok("application/dicom+json", "[]"), Ok(())),
            ("with room", ok("Application/DICOM+JSON; charset=utf-8", "\r\n [ ]"), Ok(())),
            ("as JSON", ok("application/json", "[]"), Ok(())),
            ("no content", b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(), Ok(())),
            ("a page for people", ok("text/html", "<html><body>Welcome</body></html>"), Err(E::DicomJsonInvalid)),
            ("a page that says otherwise", ok("application/json", "<html></html>"), Err(E::DicomJsonInvalid)),
            ("an object", ok("application/json", "{\"error\": 1}"), Err(E::DicomJsonInvalid)),
            ("no body", ok("application/dicom+json", ""), Err(E::DicomJsonInvalid)),
            ("XML", ok("multipart/related; type=\"application/dicom+xml\"", "--a"), Err(E::DicomJsonInvalid)),
            ("blanks without an end", blanks.into_bytes(), Err(E::DicomJsonInvalid)),
            ("a token wanted", b"HTTP/1.1 401 Unauthorized\r\n\r\n".to_vec(), Err(E::Unauthorized)),
            ("elsewhere", b"HTTP/1.1 302 Found\r\nlocation: /login\r\n\r\n".to_vec(), Err(E::HttpStatus)),
            ("another base path", b"HTTP/1.1 404 Not Found\r\n\r\n".to_vec(), Err(E::HttpStatus)),
            ("another protocol", b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), Err(E::HttpInvalid)),
            ("closed", Vec::new(), Err(E::TcpFailed)),
        ];
        for (what, answer, expected) in cases {
            assert_eq!(found(&answer, true).await, Some(expected), "{what}");
        }
        let flood = format!("{endless}[{}", "x".repeat(1_000_000));
        assert_eq!(found(flood.as_bytes(), false).await, Some(Ok(())), "what comes after its begin is not read");
        assert_eq!(found(endless.as_bytes(), false).await, None, "what drips is the caller's to bound");
    }
}
