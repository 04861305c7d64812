//! What the endpoints answer: as little as a probe of each protocol takes for a good answer.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// How an endpoint is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// A connection is enough.
    Tcp,
    /// `GET /health`.
    Http,
    /// `GET /r4/metadata`.
    Fhir,
    /// A message over MLLP and its acknowledgement.
    Hl7,
    /// C-ECHO.
    Dicom,
}

impl Kind {
    /// All of them.
    pub(crate) const ALL: [Self; 5] = [Self::Tcp, Self::Http, Self::Fhir, Self::Hl7, Self::Dicom];
    /// Of ten services, how each is spoken to.
    pub(crate) const MIX: [Self; 10] = [
        Self::Tcp,
        Self::Tcp,
        Self::Tcp,
        Self::Tcp,
        Self::Http,
        Self::Http,
        Self::Http,
        Self::Fhir,
        Self::Hl7,
        Self::Dicom,
    ];

    /// The name of its interface.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Http => "http",
            Self::Fhir => "fhir",
            Self::Hl7 => "hl7",
            Self::Dicom => "dicom",
        }
    }
}

/// A-ASSOCIATE-AC for the context 1, C-ECHO-RSP with the status 0, and A-RELEASE-RP (PS3.8 §9.3, PS3.7 §9.3.5).
const ACCEPTED: &str = "02000000004c00010000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000\
    000000000000000000000000000000000000000002100000401000000";
const ECHOED: &str =
    "04000000002e0000002a010300000001020000003080000020010200000001000000000802000000010100000009020000000000";
const RELEASED: &str = "06000000000400000000";

/// Resources that the FHIR endpoints tell of, each with four interactions and two search parameters.
const RESOURCES: usize = 25;

/// What is answered, made once.
pub(crate) struct Answers {
    well: Vec<u8>,
    sick: Vec<u8>,
    statement: Vec<u8>,
    accepted: Vec<u8>,
    echoed: Vec<u8>,
    released: Vec<u8>,
}

impl Answers {
    pub(crate) fn new() -> Self {
        let http = |status: &str, media: &str, body: &str| {
            format!(
                "HTTP/1.1 {status}\r\ncontent-type: {media}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            )
            .into_bytes()
        };
        Self {
            well: http("200 OK", "text/plain", "well"),
            sick: http("503 Service Unavailable", "text/plain", "sick"),
            statement: http("200 OK", "application/fhir+json", &statement()),
            accepted: hex(ACCEPTED),
            echoed: hex(ECHOED),
            released: hex(RELEASED),
        }
    }

    /// Length of the statement of the FHIR endpoints, in bytes.
    pub(crate) fn statement_length() -> usize {
        statement().len()
    }

    /// One connection to its end. Whatever breaks is the prober's to tell.
    pub(crate) async fn answer(&self, kind: Kind, sick: bool, mut stream: TcpStream) -> Option<()> {
        match kind {
            Kind::Tcp => return Some(()),
            Kind::Http | Kind::Fhir => {
                until(&mut stream, b"\r\n\r\n").await?;
                let answer = match kind {
                    _ if sick => &self.sick,
                    Kind::Fhir => &self.statement,
                    _ => &self.well,
                };
                stream.write_all(answer).await.ok()?;
            }
            Kind::Hl7 => {
                let message = until(&mut stream, b"\x1c\r").await?;
                let message = String::from_utf8_lossy(&message);
                let id = message.split('|').nth(9)?;
                let ack = format!("\x0bMSH|^~\\&|||||20260101000000||ACK|1|P|2.5.1\rMSA|AA|{id}\r\x1c\r");
                stream.write_all(ack.as_bytes()).await.ok()?;
            }
            Kind::Dicom => {
                for answer in [&self.accepted, &self.echoed, &self.released] {
                    pdu(&mut stream).await?;
                    stream.write_all(answer).await.ok()?;
                }
            }
        }
        // until the prober hangs up: a close with unread bytes would be a reset
        while stream.read(&mut [0; 256]).await.is_ok_and(|n| n > 0) {}
        Some(())
    }
}

/// What comes up to this end.
async fn until(stream: &mut TcpStream, end: &[u8]) -> Option<Vec<u8>> {
    let (mut all, mut piece) = (Vec::new(), [0; 1024]);
    while !all.ends_with(end) {
        let n = stream.read(&mut piece).await.ok().filter(|n| *n > 0)?;
        all.extend_from_slice(&piece[..n]);
    }
    Some(all)
}

/// Takes in one PDU.
async fn pdu(stream: &mut TcpStream) -> Option<()> {
    let mut header = [0; 6];
    stream.read_exact(&mut header).await.ok()?;
    let length = u32::from_be_bytes([header[2], header[3], header[4], header[5]]);
    stream.read_exact(&mut vec![0; usize::try_from(length).ok()?]).await.ok()?;
    Some(())
}

fn hex(text: &str) -> Vec<u8> {
    text.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// A `CapabilityStatement` of R4.
fn statement() -> String {
    let types = [
        "Patient",
        "Encounter",
        "Observation",
        "Condition",
        "ImagingStudy",
        "DiagnosticReport",
        "ServiceRequest",
        "Task",
    ];
    let resource = |n: usize| {
        let interactions = ["read", "search-type", "create", "update"].map(|code| serde_json::json!({ "code": code }));
        let search = [("_id", "token"), ("patient", "reference")]
            .map(|(name, kind)| serde_json::json!({ "name": name, "type": kind }));
        let name = types.get(n).map_or_else(|| format!("Other{n}"), |t| (*t).to_owned());
        serde_json::json!({ "type": name, "interaction": interactions, "searchParam": search })
    };
    serde_json::json!({
        "resourceType": "CapabilityStatement", "status": "active", "kind": "instance", "fhirVersion": "4.0.1",
        "format": ["json"], "rest": [{ "mode": "server", "resource": (0..RESOURCES).map(resource).collect::<Vec<_>>() }],
    })
    .to_string()
}
