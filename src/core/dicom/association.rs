//! One association for one request, as a state machine without I/O: bytes go in, and it says what is to be done next (the part of the
//! requestor in PS3.8 §9.2).

use dicom_ul::pdu::{AbortRQSource, PDataValueType, Pdu as Known};
use serde_json::{Map, Value};

use super::{
    Failure, Titles,
    command::{self, Answers, MAX_COMMAND},
    contexts::{Accepted, CONTEXT, IMPLICIT, Proposal},
    find::{Found, MAX_MATCHES, Query},
    pdu::{Acceptance, Fragment, Invalid, Pdu, Pdus},
    sent::{MAX_LENGTH, bytes, message, request},
};

/// What stands before the bytes of a piece in P-DATA: its length, context and kind (PS3.8 table 9-23, annex E.2).
const BEFORE_PIECE: usize = 6;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// C-ECHO; and which of these contexts are accepted besides.
    Echo(Proposal),
    /// C-FIND, with this priority (0000,0700).
    Find(Query, u16),
}

/// What has come of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Done {
    /// C-ECHO was answered with status 0, and these contexts were accepted.
    Echoed(Accepted),
    /// C-FIND was answered.
    Found(Found),
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// Send these bytes.
    Send(Vec<u8>),
    /// Wait for bytes.
    Receive,
    /// What came of it is known; [`Association::farewell`] ends the association.
    Ended(Result<Done, Failure>),
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
    /// Send these bytes, call [`Association::cancelled`], and ask again.
    Cancel(Vec<u8>),
    /// Wait for bytes, and ask again.
    Receive,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing has been sent.
    Begin,
    /// Waits for the answer to the request for an association.
    Requested,
    /// The request is to be sent, in pieces of so many bytes.
    Associated(usize),
    /// Waits for answers.
    Asked,
    /// What came of it is known.
    Ended(End),
}

/// What is left of the association.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Nothing,
    Abort,
    Release,
    /// What is left of the answers is to be cancelled.
    Cancel,
    /// It has been; the last answer is awaited.
    Cancelled,
}

/// One association for one request.
#[derive(Clone, Debug)]
pub struct Association {
    ask: Ask,
    request: Vec<u8>,
    stage: Stage,
    outcome: Option<Result<Done, Failure>>,
    pdus: Pdus,
    /// What has come of a command.
    command: Vec<u8>,
    /// What has come of the data set of a match; none where no data set is awaited.
    identifier: Option<Vec<u8>>,
    /// Bytes of all matches.
    taken: usize,
    matches: Vec<Map<String, Value>>,
    /// Contexts besides that of the request.
    accepted: Accepted,
}

impl Association {
    /// Between these two.
    ///
    /// # Errors
    /// [`Failure::Titles`] when one of the titles cannot be sent.
    pub fn new(titles: &Titles, ask: Ask) -> Result<Self, Failure> {
        let request = bytes(&request(titles, &ask)).ok_or(Failure::Titles)?;
        Ok(Self {
            ask,
            request,
            stage: Stage::Begin,
            outcome: None,
            pdus: Pdus::default(),
            command: Vec::new(),
            identifier: None,
            taken: 0,
            matches: Vec::new(),
            accepted: Accepted::new(),
        })
    }

    /// Takes in what the other side sent.
    pub fn push(&mut self, piece: &[u8]) {
        self.pdus.push(piece);
    }

    /// The other side has closed the connection: nothing more will come.
    pub fn closed(&mut self) {
        self.end(Err(Failure::Closed), End::Nothing);
    }

    /// What is to be done next.
    pub fn step(&mut self) -> Next {
        loop {
            if let Some(outcome) = &self.outcome {
                return Next::Ended(outcome.clone());
            }
            match self.stage {
                Stage::Begin => {
                    self.stage = Stage::Requested;
                    return Next::Send(self.request.clone());
                }
                Stage::Associated(piece) => {
                    self.stage = Stage::Asked;
                    return Next::Send(self.message(piece));
                }
                _ => match self.pdus.next_pdu() {
                    Ok(None) => return Next::Receive,
                    Ok(Some(pdu)) => self.take(pdu),
                    Err(Invalid) => self.end(Err(Failure::Invalid), End::Abort),
                },
            }
        }
    }

    /// How the association is ended from where it stands.
    pub fn farewell(&mut self) -> Farewell {
        match self.stage {
            Stage::Begin | Stage::Ended(End::Nothing) => Farewell::Nothing,
            Stage::Ended(End::Release) => Farewell::Release(bytes(&Known::ReleaseRQ).unwrap_or_default()),
            Stage::Ended(left @ (End::Cancel | End::Cancelled)) => match self.last_answer() {
                Some(end) => {
                    self.stage = Stage::Ended(end);
                    self.farewell()
                }
                None if left == End::Cancelled => Farewell::Receive,
                // what has ended already is not cancelled: some take that amiss
                None => Farewell::Cancel(message(&command::cancel_request(), PDataValueType::Command, usize::MAX)),
            },
            Stage::Ended(End::Abort) | Stage::Requested | Stage::Associated(_) | Stage::Asked => {
                let abort = Known::AbortRQ { source: AbortRQSource::ServiceUser };
                Farewell::Abort(bytes(&abort).unwrap_or_default())
            }
        }
    }

    /// C-CANCEL has been sent. What comes after it is passed over, up to the last answer (PS3.7 §9.1.2.3).
    pub fn cancelled(&mut self) {
        self.stage = Stage::Ended(End::Cancelled);
    }

    /// It stops to wait for the last answer: the association is aborted instead.
    pub fn give_up(&mut self) {
        if self.stage == Stage::Ended(End::Cancelled) {
            self.stage = Stage::Ended(End::Abort);
        }
    }

    fn end(&mut self, outcome: Result<Done, Failure>, end: End) {
        // what is known stays so, but there may be nobody any more to tell of the end
        if self.outcome.is_none() || end == End::Nothing {
            self.stage = Stage::Ended(end);
        }
        self.outcome.get_or_insert(outcome);
    }

    fn take(&mut self, pdu: Pdu) {
        match (self.stage, pdu) {
            (Stage::Requested, Pdu::Accepted(accepted)) => self.accepted(&accepted),
            (Stage::Requested, Pdu::Rejected(why)) => self.end(Err(Failure::Rejected(why)), End::Nothing),
            (_, Pdu::Aborted) => self.end(Err(Failure::Aborted), End::Nothing),
            (Stage::Asked, Pdu::ReleaseAsked) => self.end(Err(Failure::Aborted), End::Abort),
            (Stage::Asked, Pdu::Data(fragments)) => {
                for fragment in fragments {
                    if self.outcome.is_some() {
                        return;
                    }
                    if self.piece(&fragment).is_err() {
                        self.end(Err(Failure::Invalid), End::Abort);
                    }
                }
            }
            _ => self.end(Err(Failure::Invalid), End::Abort),
        }
    }

    fn accepted(&mut self, accepted: &Acceptance) {
        let Some((_, syntax)) = accepted.contexts.iter().find(|(id, _)| *id == CONTEXT) else {
            return self.end(Err(Failure::ContextRefused), End::Release);
        };
        // a command is the same in every syntax, but data sets are read in the one that was proposed
        if matches!(self.ask, Ask::Find(..)) && !syntax.is_empty() && syntax != IMPLICIT {
            return self.end(Err(Failure::Invalid), End::Abort);
        }
        if let Ask::Echo(proposal) = &self.ask {
            self.accepted = proposal.accepted(accepted);
        }
        let longest = if accepted.max_length == 0 { MAX_LENGTH } else { accepted.max_length.min(MAX_LENGTH) };
        let piece = usize::try_from(longest).unwrap_or(usize::MAX).saturating_sub(BEFORE_PIECE).max(1);
        self.stage = Stage::Associated(piece);
    }

    /// The request, in pieces of so many bytes.
    fn message(&self, piece: usize) -> Vec<u8> {
        match &self.ask {
            Ask::Echo(_) => message(&command::echo_request(), PDataValueType::Command, piece),
            Ask::Find(query, priority) => {
                let request = command::find_request(query.scope.class(), *priority);
                let mut all = message(&request, PDataValueType::Command, piece);
                all.extend(message(&query.identifier(), PDataValueType::Data, piece));
                all
            }
        }
    }

    /// A piece of an answer.
    fn piece(&mut self, fragment: &Fragment) -> Result<(), Invalid> {
        if fragment.context != CONTEXT || fragment.data_set != self.identifier.is_some() {
            return Err(Invalid);
        }
        if let Some(identifier) = &mut self.identifier {
            self.taken += fragment.bytes.len();
            if self.taken > MAX_MATCHES {
                self.cut();
                return Ok(());
            }
            identifier.extend_from_slice(&fragment.bytes);
            return if fragment.last { self.matched() } else { Ok(()) };
        }
        self.command.extend_from_slice(&fragment.bytes);
        if self.command.len() > MAX_COMMAND {
            return Err(Invalid);
        }
        if fragment.last { self.answered() } else { Ok(()) }
    }

    /// The command of an answer is whole.
    fn answered(&mut self) -> Result<(), Invalid> {
        let command = std::mem::take(&mut self.command);
        let Ask::Find(query, _) = &self.ask else {
            match command::response(&command, Answers::Echo)?.status {
                0 => {
                    let accepted = std::mem::take(&mut self.accepted);
                    self.end(Ok(Done::Echoed(accepted)), End::Release);
                }
                status => self.end(Err(Failure::Status(status)), End::Release),
            }
            return Ok(());
        };
        let response = command::response(&command, Answers::Find)?;
        if !response.is_pending() {
            let matches = if response.status == 0 { std::mem::take(&mut self.matches) } else { Vec::new() };
            let found = Found { status: response.status, matches, complete: true };
            self.end(Ok(Done::Found(found)), End::Release);
        } else if !response.data_set {
            return Err(Invalid);
        } else if self.matches.len() >= usize::from(query.limit) {
            self.cut();
        } else {
            self.identifier = Some(Vec::new());
        }
        Ok(())
    }

    /// The data set of a match is whole.
    fn matched(&mut self) -> Result<(), Invalid> {
        if let (Some(identifier), Ask::Find(query, _)) = (self.identifier.take(), &self.ask) {
            self.matches.push(query.read(&identifier)?);
        }
        Ok(())
    }

    /// There is more than may come: the rest is cancelled.
    fn cut(&mut self) {
        let matches = std::mem::take(&mut self.matches);
        self.command.clear();
        self.end(Ok(Done::Found(Found { status: 0, matches, complete: false })), End::Cancel);
    }

    /// What is left of the association once the last answer has come; none while it has not.
    fn last_answer(&mut self) -> Option<End> {
        loop {
            match self.pdus.next_pdu() {
                Ok(None) => return None,
                Ok(Some(Pdu::Data(fragments))) => {
                    for fragment in fragments.iter().filter(|f| !f.data_set) {
                        self.command.extend_from_slice(&fragment.bytes);
                        if self.command.len() > MAX_COMMAND {
                            return Some(End::Abort);
                        }
                        if !fragment.last {
                            continue;
                        }
                        match command::response(&std::mem::take(&mut self.command), Answers::Find) {
                            Ok(response) if response.is_pending() => {}
                            Ok(_) => return Some(End::Release),
                            Err(Invalid) => return Some(End::Abort),
                        }
                    }
                }
                Ok(Some(Pdu::Aborted)) => return Some(End::Nothing),
                Ok(Some(_)) | Err(Invalid) => return Some(End::Abort),
            }
        }
    }
}

#[cfg(test)]
#[path = "association_tests.rs"]
mod tests;
