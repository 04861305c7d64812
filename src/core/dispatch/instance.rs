//! One instance of a service: how many calls it may be sent now.

use jiff::Timestamp;

use super::{
    breaker::{Breaker, Passage},
    choice::Load,
    limits::Limits,
    seats::Ended,
};
use crate::api::vocabulary::Urgency;

/// An endpoint.
#[derive(Clone, Debug, Default)]
pub(super) struct Instance {
    pub(super) ready: bool,
    pub(super) load: Load,
    breaker: Breaker,
    /// Calls that are out.
    flying: u32,
    /// Places that are kept for calls which must not wait once their intent is written.
    held: u32,
    /// The one call that tries an endpoint after a pause.
    trial: Option<u64>,
}

/// How many calls of this urgency an endpoint may be sent at a time.
fn most(limits: &Limits, urgency: Urgency) -> u32 {
    let reserve = if urgency == Urgency::Stat { limits.stat_reserve } else { 0 };
    limits.concurrency.map_or(u32::MAX, |concurrency| concurrency.saturating_add(reserve))
}

impl Instance {
    pub(super) fn passage(&self, limits: &Limits, now: Timestamp) -> Passage {
        self.breaker.passage(limits.breaker, now)
    }

    /// Calls of this urgency that may go out now.
    pub(super) fn places(&self, limits: &Limits, urgency: Urgency, now: Timestamp) -> u32 {
        let passing = match self.passage(limits, now) {
            Passage::Free => u32::MAX,
            Passage::Trial => u32::from(self.trial.is_none()),
            Passage::Closed(_) => 0,
        };
        if self.ready { passing.min(self.unfilled(limits, urgency)) } else { 0 }
    }

    /// As [`Self::places`], whether or not it is ready and does well.
    pub(super) fn unfilled(&self, limits: &Limits, urgency: Urgency) -> u32 {
        most(limits, urgency).saturating_sub(self.flying).saturating_sub(self.held)
    }

    /// Calls of this urgency that may go out now, less those that are about to.
    pub(super) fn unclaimed(&self, limits: &Limits, urgency: Urgency, now: Timestamp) -> u32 {
        let claimed = self.load.in_flight.saturating_sub(self.flying).saturating_sub(self.held);
        self.places(limits, urgency, now).saturating_sub(claimed)
    }

    /// Calls that may have their intent written before there is a place for them.
    pub(super) fn ahead(&self, limits: &Limits, now: Timestamp) -> u32 {
        match limits.concurrency {
            Some(concurrency) if self.ready && self.passage(limits, now) == Passage::Free => 1 + concurrency / 8,
            _ => 0,
        }
    }

    /// A call is about to be sent. One that must not wait keeps its place from now on.
    pub(super) fn expects(&mut self, id: u64, keeps: bool, limits: &Limits, now: Timestamp) {
        self.load.in_flight += 1;
        if keeps {
            self.held += 1;
            self.tries(id, limits, now);
        }
    }

    /// A call that was expected goes elsewhere.
    pub(super) fn expects_no_more(&mut self) {
        self.load.in_flight = self.load.in_flight.saturating_sub(1);
    }

    /// A call that was expected is sent.
    pub(super) fn send(&mut self, id: u64, kept: bool, limits: &Limits, now: Timestamp) {
        self.flying += 1;
        if kept {
            self.held = self.held.saturating_sub(1);
        } else {
            self.tries(id, limits, now);
        }
    }

    fn tries(&mut self, id: u64, limits: &Limits, now: Timestamp) {
        if self.passage(limits, now) == Passage::Trial {
            self.trial = Some(id);
        }
    }

    /// A call has ended, or is not sent; whether this endpoint is left alone from now on.
    pub(super) fn leave(
        &mut self,
        id: u64,
        (flew, kept): (bool, bool),
        ended: Option<Ended>,
        limits: &Limits,
        now: Timestamp,
    ) -> bool {
        self.load.in_flight = self.load.in_flight.saturating_sub(1);
        self.flying = self.flying.saturating_sub(u32::from(flew));
        self.held = self.held.saturating_sub(u32::from(kept && !flew));
        if self.trial == Some(id) {
            self.trial = None;
        }
        let Some(ended) = ended else { return false };
        self.load.ended(ended.well, ended.seconds);
        let opened = self.breaker.ended(ended.well, limits.breaker, now);
        if opened {
            // a call that hangs since another pause does not keep the next one from being tried
            self.trial = None;
        }
        opened
    }
}
