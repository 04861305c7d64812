//! One association for one C-ECHO, as a state machine without I/O: bytes go in, and it says what is to be done next (the part of the
//! requestor in PS3.8 §9.2).

use dicom_ul::pdu::{
    AbortRQSource, AssociationRQ, PDataValue, PDataValueType, Pdu as Known, PresentationContextProposed,
    UserVariableItem, write_pdu,
};

use super::{
    Failure, Titles, VERIFICATION,
    command::{self, MAX_COMMAND},
    pdu::{Invalid, Pdu, Pdus},
};

/// DICOM's application context (PS3.7 annex A.2.1).
const APPLICATION_CONTEXT: &str = "1.2.840.10008.3.1.1.1";
/// Implicit and Explicit VR Little Endian (PS3.5 §10.1, annex A): the first is everybody's default.
const TRANSFER_SYNTAXES: [&str; 2] = ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1"];
/// The id of the only context. Ids are odd.
const CONTEXT: u8 = 1;
/// Longest P-DATA that medley asks for, in bytes.
const MAX_LENGTH: u32 = 16384;
/// Names the implementation (PS3.7 annex D.3.3.2); made from a UUID (PS3.5 annex B.2).
const IMPLEMENTATION: &str = "2.25.156817478632171901559907589064364819511";
/// Its version; 16 characters at most.
const VERSION: &str = concat!("MEDLEY_", env!("CARGO_PKG_VERSION"));

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Send these bytes.
    Send(Vec<u8>),
    /// Wait for bytes.
    Receive,
    /// What came of the echo is known; [`Echo::farewell`] ends the association.
    Ended(Result<(), Failure>),
}

/// How an association is ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// There is none any more.
    Nothing,
    /// Send these bytes and close.
    Abort(Vec<u8>),
    /// Send these bytes, and close when something comes or the other side closes.
    Release(Vec<u8>),
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing has been sent.
    Begin,
    /// Waits for the answer to the request for an association.
    Requested,
    /// The echo is to be sent.
    Associated,
    /// Waits for the answer to the echo.
    Asked,
    /// What came of it is known.
    Ended(Result<(), Failure>, End),
}

/// What is left of the association.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Nothing,
    Abort,
    Release,
}

/// One association for one C-ECHO.
#[derive(Clone, Debug)]
pub struct Echo {
    request: Vec<u8>,
    echo: Vec<u8>,
    release: Vec<u8>,
    abort: Vec<u8>,
    stage: Stage,
    pdus: Pdus,
    /// What has come of the answer.
    command: Vec<u8>,
}

impl Echo {
    /// Between these two.
    ///
    /// # Errors
    /// [`Failure::Titles`] when one of the titles cannot be sent.
    pub fn new(titles: &Titles) -> Result<Self, Failure> {
        Ok(Self {
            request: bytes(&request(titles))?,
            echo: bytes(&Known::PData {
                data: vec![PDataValue {
                    presentation_context_id: CONTEXT,
                    value_type: PDataValueType::Command,
                    is_last: true,
                    data: command::echo_request(),
                }],
            })?,
            release: bytes(&Known::ReleaseRQ)?,
            abort: bytes(&Known::AbortRQ { source: AbortRQSource::ServiceUser })?,
            stage: Stage::Begin,
            pdus: Pdus::default(),
            command: Vec::new(),
        })
    }

    /// Takes in what the other side sent.
    pub fn push(&mut self, piece: &[u8]) {
        self.pdus.push(piece);
    }

    /// The other side has closed the connection: nothing more will come.
    pub fn closed(&mut self) {
        if !matches!(self.stage, Stage::Ended(..)) {
            self.stage = Stage::Ended(Err(Failure::Closed), End::Nothing);
        }
    }

    /// What is to be done next.
    pub fn step(&mut self) -> Next {
        loop {
            match self.stage {
                Stage::Begin => {
                    self.stage = Stage::Requested;
                    return Next::Send(self.request.clone());
                }
                Stage::Associated => {
                    self.stage = Stage::Asked;
                    return Next::Send(self.echo.clone());
                }
                Stage::Ended(what, _) => return Next::Ended(what),
                Stage::Requested | Stage::Asked => match self.pdus.next_pdu() {
                    Ok(None) => return Next::Receive,
                    Ok(Some(pdu)) => self.take(pdu),
                    Err(Invalid) => self.stage = Stage::Ended(Err(Failure::Invalid), End::Abort),
                },
            }
        }
    }

    /// How the association is ended from where it stands.
    #[must_use]
    pub fn farewell(&self) -> Farewell {
        match self.stage {
            Stage::Begin | Stage::Ended(_, End::Nothing) => Farewell::Nothing,
            Stage::Ended(_, End::Release) => Farewell::Release(self.release.clone()),
            _ => Farewell::Abort(self.abort.clone()),
        }
    }

    fn take(&mut self, pdu: Pdu) {
        let ended = |why, end| Stage::Ended(Err(why), end);
        self.stage = match (self.stage, pdu) {
            (Stage::Requested, Pdu::Accepted(contexts)) if contexts.contains(&CONTEXT) => Stage::Associated,
            (Stage::Requested, Pdu::Accepted(_)) => ended(Failure::ContextRefused, End::Release),
            (Stage::Requested, Pdu::Rejected(why)) => ended(Failure::Rejected(why), End::Nothing),
            (_, Pdu::Aborted) => ended(Failure::Aborted, End::Nothing),
            (Stage::Asked, Pdu::ReleaseAsked) => ended(Failure::Aborted, End::Abort),
            (Stage::Asked, Pdu::Data(fragments)) => {
                for fragment in fragments {
                    self.command.extend_from_slice(&fragment.bytes);
                    if fragment.context != CONTEXT || self.command.len() > MAX_COMMAND {
                        self.stage = ended(Failure::Invalid, End::Abort);
                        return;
                    }
                    if fragment.last {
                        self.stage = match command::echo_status(&self.command) {
                            Ok(0) => Stage::Ended(Ok(()), End::Release),
                            Ok(status) => ended(Failure::Status(status), End::Release),
                            Err(Invalid) => ended(Failure::Invalid, End::Abort),
                        };
                        return;
                    }
                }
                Stage::Asked
            }
            _ => ended(Failure::Invalid, End::Abort),
        };
    }
}

/// A-ASSOCIATE-RQ with the Verification SOP class.
fn request(titles: &Titles) -> Known {
    Known::AssociationRQ(AssociationRQ {
        protocol_version: 1,
        calling_ae_title: titles.calling.clone(),
        called_ae_title: titles.called.clone(),
        application_context_name: APPLICATION_CONTEXT.to_owned(),
        presentation_contexts: vec![PresentationContextProposed {
            id: CONTEXT,
            abstract_syntax: VERIFICATION.to_owned(),
            transfer_syntaxes: TRANSFER_SYNTAXES.map(str::to_owned).to_vec(),
        }],
        user_variables: vec![
            UserVariableItem::MaxLength(MAX_LENGTH),
            UserVariableItem::ImplementationClassUID(IMPLEMENTATION.to_owned()),
            UserVariableItem::ImplementationVersionName(VERSION.to_owned()),
        ],
    })
}

/// All that is sent has a fixed form but for the titles.
fn bytes(pdu: &Known) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    write_pdu(&mut bytes, pdu).map_err(|_| Failure::Titles)?;
    Ok(bytes)
}

#[cfg(test)]
#[path = "association_tests.rs"]
mod tests;
