//! One HTTP/1.1 GET over a connection that is there: no redirects, no proxy, no reuse, bounded memory.

use std::error::Error;

use http::{HeaderValue, Request, header};
use http_body_util::{BodyExt, Empty};
use hyper::{
    body::{Bytes, Incoming},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinHandle,
};

use super::tcp;
use crate::api::medical_service::EndpointReason;

/// Most bytes of an answer's head.
const MAX_HEAD: usize = 16 * 1024;
/// Bytes of an answer's body that are taken in before the connection is closed.
const MAX_BODY: usize = 16 * 1024;

/// An answer, of which the head is there.
#[derive(Debug)]
pub struct Answer {
    /// Its HTTP status.
    pub status: u16,
    /// Its media type in lower case, without parameters; empty where it tells none.
    pub media_type: String,
    body: Incoming,
    connection: Connection,
}

/// The task that moves the bytes; it ends with the probe, however that ends.
#[derive(Debug)]
struct Connection(JoinHandle<()>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Asks for `path` in the media type `accept` and waits for the answer's head.
///
/// # Errors
///
/// `HttpInvalid` for what is not HTTP, a TCP reason when the connection broke. The caller bounds the time.
pub async fn get<S>(stream: S, path: &str, host: &str, accept: &'static str) -> Result<Answer, EndpointReason>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http1::Builder::new();
    builder.max_buf_size(MAX_HEAD);
    let (mut sender, connection) =
        builder.handshake(TokioIo::new(stream)).await.map_err(|e| classify(&e, EndpointReason::HttpInvalid))?;
    let connection = Connection(tokio::spawn(async move {
        // a failure is the request's to report
        let _ = connection.await;
    }));
    let request = Request::get(path)
        .header(header::HOST, host)
        .header(header::USER_AGENT, concat!("medley-probe/", env!("CARGO_PKG_VERSION")))
        .header(header::ACCEPT, accept)
        .header(header::CONNECTION, HeaderValue::from_static("close"))
        .body(Empty::<Bytes>::new())
        // the schema's pattern lets no path pass that is not one; an object from before the pattern must not look healthy
        .map_err(|_| EndpointReason::HttpInvalid)?;
    let response = sender.send_request(request).await.map_err(|e| classify(&e, EndpointReason::HttpInvalid))?;
    let told = response.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let media_type = told.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    Ok(Answer { status: response.status().as_u16(), media_type, body: response.into_body(), connection })
}

impl Answer {
    /// The whole body; `None` when it has more bytes than `most`.
    ///
    /// # Errors
    /// A TCP reason when the connection broke, `HttpInvalid` for what is not HTTP.
    pub async fn whole(mut self, most: usize) -> Result<Option<Vec<u8>>, EndpointReason> {
        let mut whole = Vec::new();
        while let Some(frame) = self.body.frame().await {
            if let Ok(data) = frame.map_err(|e| classify(&e, EndpointReason::HttpInvalid))?.into_data() {
                if whole.len() + data.len() > most {
                    return Ok(None);
                }
                whole.extend_from_slice(&data);
            }
        }
        Ok(Some(whole))
    }

    /// The first byte of the body that is no white space of JSON (RFC 8259 §2), looked for in its first bytes only; the rest is dropped with
    /// the connection.
    ///
    /// # Errors
    /// A TCP reason when the connection broke, `HttpInvalid` for what is not HTTP.
    pub async fn begins(mut self) -> Result<Option<u8>, EndpointReason> {
        let mut read = 0;
        while let Some(frame) = self.body.frame().await {
            let Ok(data) = frame.map_err(|e| classify(&e, EndpointReason::HttpInvalid))?.into_data() else { continue };
            if let Some(byte) = data.iter().find(|b| !b" \t\r\n".contains(b)) {
                return Ok(Some(*byte));
            }
            read += data.len();
            if read >= MAX_BODY {
                break;
            }
        }
        Ok(None)
    }

    /// Takes in the start of the body and closes the connection.
    pub async fn finish(mut self) {
        let mut read = 0;
        while let Some(Ok(frame)) = self.body.frame().await {
            read += frame.data_ref().map_or(0, Bytes::len);
            if read >= MAX_BODY {
                break;
            }
        }
        drop(self.connection);
    }
}

/// Whether the connection broke, or what came is not HTTP: `invalid`, as the protocol above calls that.
pub(super) fn classify(error: &hyper::Error, invalid: EndpointReason) -> EndpointReason {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<std::io::Error>() {
            return tcp::classify(io.kind());
        }
        source = cause.source();
    }
    if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        return EndpointReason::TcpFailed;
    }
    invalid
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
        task::JoinHandle,
        time::Instant,
    };

    use crate::{
        api::medical_service::EndpointReason,
        core::{
            discovery::target::{Endpoint, ProbeKind, ProbeTarget},
            monitoring::health::{ProbeOutcome, Thresholds},
        },
        medical::{probe::probe, tls::Trust},
    };

    /// What a service on loopback does with its one connection.
    enum Manner {
        /// Reads the request, answers this, closes.
        Answer(Vec<u8>),
        /// Speaks first, as SSH and SMTP do.
        Greet(&'static [u8]),
        /// Reads and says nothing.
        Silent,
        /// Closes without a word.
        HangUp,
    }

    /// A listener on loopback; its task ends with the request that it read.
    async fn service(manner: Manner) -> (u16, JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            if let Manner::Greet(text) = &manner {
                stream.write_all(text).await.unwrap();
            }
            if matches!(manner, Manner::HangUp) {
                return String::new();
            }
            let mut request = Vec::new();
            let mut buffer = [0; 1024];
            while !request.ends_with(b"\r\n\r\n") {
                match stream.read(&mut buffer).await {
                    Ok(0) | Err(_) => break,
                    Ok(n) => request.extend_from_slice(&buffer[..n]),
                }
            }
            match manner {
                Manner::Answer(text) => {
                    let _ = stream.write_all(&text).await;
                }
                Manner::Silent => {
                    // until the prober hangs up
                    let _ = stream.read(&mut buffer).await;
                }
                Manner::Greet(_) | Manner::HangUp => {}
            }
            String::from_utf8(request).unwrap()
        });
        (port, task)
    }

    fn target(port: u16, kind: ProbeKind) -> ProbeTarget {
        ProbeTarget {
            endpoint: Endpoint { address: "127.0.0.1".parse().unwrap(), port, interface: "web".to_owned(), pod: None },
            kind,
            tls: None,
            interval: Duration::from_secs(10),
            timeout: Duration::from_millis(500),
            thresholds: Thresholds { failures: 3, successes: 1 },
        }
    }

    fn http() -> ProbeKind {
        ProbeKind::Http { path: "/fhir/metadata?_summary=true".to_owned(), host: "ehr.example:8080".to_owned() }
    }

    async fn ask(manner: Manner) -> ProbeOutcome {
        let (port, _task) = service(manner).await;
        probe(&target(port, http()), &Trust::default()).await.outcome
    }

    fn answer(head: &str) -> Manner {
        Manner::Answer(format!("{head}\r\n\r\n").into_bytes())
    }

    #[tokio::test]
    async fn the_request_names_path_and_host_and_asks_for_no_more() {
        let (port, task) = service(answer("HTTP/1.1 200 OK\r\ncontent-length: 0")).await;
        assert_eq!(probe(&target(port, http()), &Trust::default()).await.outcome, ProbeOutcome::Answered);
        let request = task.await.unwrap();
        assert!(request.starts_with("GET /fhir/metadata?_summary=true HTTP/1.1\r\n"), "{request}");
        assert!(
            request.contains("host: ehr.example:8080\r\n") && request.contains("connection: close\r\n"),
            "{request}"
        );
    }

    #[tokio::test]
    async fn statuses_from_200_to_399_are_healthy_and_redirects_are_not_followed() {
        for status in ["200 OK", "204 No Content", "302 Found\r\nlocation: http://127.0.0.1:1/", "399 X"] {
            assert_eq!(ask(answer(&format!("HTTP/1.1 {status}"))).await, ProbeOutcome::Answered, "{status}");
        }
        for status in ["400 Bad Request", "401 Unauthorized", "404 Not Found", "503 Unavailable"] {
            let outcome = ask(answer(&format!("HTTP/1.1 {status}"))).await;
            assert_eq!(outcome, ProbeOutcome::Failed(EndpointReason::HttpStatus), "{status}");
        }
    }

    #[tokio::test]
    async fn what_is_not_http_is_told_from_a_connection_that_broke() {
        let invalid = ProbeOutcome::Failed(EndpointReason::HttpInvalid);
        assert_eq!(ask(Manner::Answer(b"\x02\x00\x00\x00\x00\x10DICOM\r\n\r\n".to_vec())).await, invalid);
        assert_eq!(ask(Manner::Greet(b"SSH-2.0-OpenSSH_9.2\r\n")).await, invalid);
        assert_eq!(ask(Manner::HangUp).await, ProbeOutcome::Failed(EndpointReason::TcpFailed));
    }

    #[tokio::test]
    async fn an_endless_head_or_body_takes_neither_memory_nor_time() {
        let head = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(1 << 20));
        assert_eq!(ask(Manner::Answer(head.into_bytes())).await, ProbeOutcome::Failed(EndpointReason::HttpInvalid));
        let body = format!("HTTP/1.1 200 OK\r\n\r\n{}", "y".repeat(8 << 20));
        let started = Instant::now();
        assert_eq!(ask(Manner::Answer(body.into_bytes())).await, ProbeOutcome::Answered);
        assert!(started.elapsed() < Duration::from_millis(400), "it read on: {:?}", started.elapsed());
    }

    #[tokio::test]
    async fn silence_ends_with_the_timeout() {
        let started = Instant::now();
        assert_eq!(ask(Manner::Silent).await, ProbeOutcome::Failed(EndpointReason::HttpTimeout));
        assert!(started.elapsed() >= Duration::from_millis(500));
    }

    #[tokio::test]
    async fn a_connection_is_enough_on_the_transport_level() {
        let (port, _task) = service(Manner::Silent).await;
        assert_eq!(probe(&target(port, ProbeKind::Tcp), &Trust::default()).await.outcome, ProbeOutcome::Answered);
    }

    #[tokio::test]
    async fn a_full_listener_is_a_timeout() {
        // a backlog of one that nobody accepts from: the kernel drops further handshakes, as a firewall would
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut held = Vec::new();
        while let Ok(Ok(stream)) =
            tokio::time::timeout(Duration::from_millis(200), tokio::net::TcpStream::connect(address)).await
        {
            held.push(stream);
            assert!(held.len() < 64, "the backlog does not fill");
        }
        let outcome = probe(&target(address.port(), ProbeKind::Tcp), &Trust::default()).await.outcome;
        assert_eq!(outcome, ProbeOutcome::Failed(EndpointReason::TcpTimeout));
    }
}
