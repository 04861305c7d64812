//! The health of one probed endpoint: one address, one port, one interface.
//!
//! Hysteresis both ways. An endpoint is put in after `successes` answers in a row and taken out after `failures` failures in
//! a row; anything shorter changes nothing. Unknown is not unhealthy, but it is not published either. The reason of an
//! unhealthy endpoint has the same hysteresis, so that an endpoint which fails now in this way and now in that one does not
//! cause a status write with every probe.

use jiff::Timestamp;

use crate::api::medical_service::{EndpointReason, EndpointStatus};

/// How one probe ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeOutcome {
    /// The endpoint answered as it should.
    Answered,
    /// It did not; the reason names the layer. Never `Healthy`.
    Failed(EndpointReason),
}

impl ProbeOutcome {
    /// What an endpoint's status says when all its probes end like this.
    #[must_use]
    pub const fn reason(self) -> EndpointReason {
        match self {
            Self::Answered => EndpointReason::Healthy,
            Self::Failed(reason) => reason,
        }
    }
}

/// How many outcomes in a row it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Thresholds {
    /// Failures before a healthy endpoint is taken out; 0 counts as 1.
    pub failures: u8,
    /// Successes before an endpoint is put in; 0 counts as 1.
    pub successes: u8,
}

/// What is held to be true of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No probe has ended yet, or too few successes to tell.
    Unknown,
    /// It answers: published.
    Healthy,
    /// It does not answer: not published.
    Unhealthy,
}

/// Health of one endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    state: State,
    reason: EndpointReason,
    since: Timestamp,
    /// The last outcomes in a row that speak for a change.
    streak: Option<(ProbeOutcome, u8)>,
}

impl Health {
    /// An endpoint that nobody has probed.
    #[must_use]
    pub const fn unknown(now: Timestamp) -> Self {
        Self { state: State::Unknown, reason: EndpointReason::NotProbed, since: now, streak: None }
    }

    /// An endpoint that was in use before anybody here probed it: it stays in until it has failed often enough.
    #[must_use]
    pub const fn trusted(since: Timestamp) -> Self {
        Self { state: State::Healthy, reason: EndpointReason::Healthy, since, streak: None }
    }

    /// What an earlier status says (fail static: a new leader starts from what the last one knew).
    #[must_use]
    pub fn seeded(status: &EndpointStatus) -> Self {
        if status.ready {
            return Self::trusted(status.since);
        }
        match status.reason {
            // `Healthy` and not ready is no state that was ever written: nothing is known
            EndpointReason::NotProbed | EndpointReason::Healthy => Self::unknown(status.since),
            reason => Self { state: State::Unhealthy, reason, since: status.since, streak: None },
        }
    }

    /// What is held to be true.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// Whether the endpoint is published.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.state == State::Healthy
    }

    /// Why.
    #[must_use]
    pub const fn reason(&self) -> EndpointReason {
        self.reason
    }

    /// Since when [`Self::ready`] is what it is.
    #[must_use]
    pub const fn since(&self) -> Timestamp {
        self.since
    }

    /// Takes in how a probe ended at `now`. True when the state or its reason changed: somebody must be told.
    pub fn observe(&mut self, outcome: ProbeOutcome, now: Timestamp, thresholds: Thresholds) -> bool {
        if self.agrees(outcome) {
            self.streak = None;
            return false;
        }
        let length = match self.streak {
            Some((last, n)) if self.continues(last, outcome) => n.saturating_add(1),
            _ => 1,
        };
        let needed = match outcome {
            ProbeOutcome::Answered => thresholds.successes.max(1),
            // nothing is taken out by this: the first failure tells why the endpoint is not in
            ProbeOutcome::Failed(_) if self.state == State::Unknown => 1,
            ProbeOutcome::Failed(_) => thresholds.failures.max(1),
        };
        if length < needed {
            self.streak = Some((outcome, length));
            return false;
        }
        let was_ready = self.ready();
        (self.state, self.reason) = match outcome {
            ProbeOutcome::Answered => (State::Healthy, EndpointReason::Healthy),
            ProbeOutcome::Failed(reason) => (State::Unhealthy, reason),
        };
        if self.ready() != was_ready {
            self.since = now;
        }
        self.streak = None;
        true
    }

    /// Whether an outcome says what is held to be true already.
    fn agrees(&self, outcome: ProbeOutcome) -> bool {
        match outcome {
            ProbeOutcome::Answered => self.state == State::Healthy,
            ProbeOutcome::Failed(reason) => self.state == State::Unhealthy && self.reason == reason,
        }
    }

    /// Whether two outcomes speak for the same change.
    fn continues(&self, last: ProbeOutcome, next: ProbeOutcome) -> bool {
        match (last, next) {
            (ProbeOutcome::Answered, ProbeOutcome::Answered) => true,
            // out of Healthy any failure counts; from one reason to another only the same reason does
            (ProbeOutcome::Failed(a), ProbeOutcome::Failed(b)) => self.state == State::Healthy || a == b,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THREE_ONE: Thresholds = Thresholds { failures: 3, successes: 1 };
    const REFUSED: ProbeOutcome = ProbeOutcome::Failed(EndpointReason::TcpRefused);
    const TIMEOUT: ProbeOutcome = ProbeOutcome::Failed(EndpointReason::HttpTimeout);

    fn at(s: i64) -> Timestamp {
        Timestamp::from_second(s).unwrap()
    }

    fn status(ready: bool, reason: EndpointReason) -> EndpointStatus {
        EndpointStatus {
            address: "192.0.2.1".to_owned(),
            interface: Some("dicom".to_owned()),
            host: None,
            zone: None,
            ready,
            reason,
            since: at(5),
            dns_name: None,
            certificate_expires: None,
        }
    }

    #[test]
    fn an_endpoint_that_nobody_probed_is_not_published() {
        let health = Health::unknown(at(0));
        assert_eq!((health.ready(), health.reason()), (false, EndpointReason::NotProbed));
    }

    #[test]
    fn the_third_failure_in_a_row_takes_it_out_and_the_first_success_puts_it_in() {
        let mut health = Health::unknown(at(0));
        assert!(health.observe(ProbeOutcome::Answered, at(1), THREE_ONE));
        assert_eq!((health.ready(), health.since()), (true, at(1)));
        assert!(!health.observe(REFUSED, at(2), THREE_ONE));
        assert!(!health.observe(TIMEOUT, at(3), THREE_ONE));
        assert!(health.observe(REFUSED, at(4), THREE_ONE));
        assert_eq!((health.ready(), health.reason(), health.since()), (false, EndpointReason::TcpRefused, at(4)));
        assert!(health.observe(ProbeOutcome::Answered, at(5), THREE_ONE));
        assert_eq!((health.ready(), health.since()), (true, at(5)));
    }

    #[test]
    fn a_success_between_failures_starts_the_count_again() {
        let mut health = Health::trusted(at(0));
        for second in 0..20 {
            let outcome = if second % 3 == 2 { ProbeOutcome::Answered } else { REFUSED };
            assert!(!health.observe(outcome, at(second), THREE_ONE));
        }
        assert!(health.ready());
    }

    #[test]
    fn a_failing_endpoint_changes_its_reason_only_when_the_new_one_stays() {
        let mut health = Health::unknown(at(0));
        assert!(health.observe(REFUSED, at(1), THREE_ONE));
        for second in 2..20 {
            let outcome = if second % 2 == 0 { TIMEOUT } else { REFUSED };
            assert!(!health.observe(outcome, at(second), THREE_ONE));
        }
        let changes: Vec<bool> = (20..24).map(|s| health.observe(TIMEOUT, at(s), THREE_ONE)).collect();
        assert_eq!(changes, [false, false, true, false]);
        assert_eq!((health.reason(), health.since()), (EndpointReason::HttpTimeout, at(0)), "it was never ready");
    }

    #[test]
    fn a_new_leader_starts_from_what_the_status_says() {
        let mut ready = Health::seeded(&status(true, EndpointReason::Healthy));
        assert_eq!((ready.ready(), ready.since()), (true, at(5)));
        assert!(!ready.observe(REFUSED, at(6), THREE_ONE));
        assert!(ready.ready());
        assert_eq!(Health::seeded(&status(false, EndpointReason::NotProbed)).state(), State::Unknown);
        let failed = Health::seeded(&status(false, EndpointReason::TcpTimeout));
        assert_eq!(
            (failed.state(), failed.reason(), failed.since()),
            (State::Unhealthy, EndpointReason::TcpTimeout, at(5))
        );
    }
}
