//! What measurements of a service say in its status, and when that is written.

use crate::{
    api::{
        measurements::{Cause, Measured, Measurements},
        status::ANOMALOUS,
    },
    core::condition::{Conditions, State},
};

/// Where measurements come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// Probes of endpoints by medley.
    Probes,
    /// Calls of workflow steps.
    Calls,
}

impl Source {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Probes, Self::Calls];

    /// A word for statuses and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Probes => "probes",
            Self::Calls => "calls",
        }
    }

    /// Its part of a status.
    #[must_use]
    pub const fn of(self, measurements: &Measurements) -> Option<&Measured> {
        match self {
            Self::Probes => measurements.probes.as_ref(),
            Self::Calls => measurements.calls.as_ref(),
        }
    }
}

/// What is known of a service's measurements.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Known {
    /// As a status would tell it now; `None` while nothing is known, as after a change of leader.
    pub now: Option<Measurements>,
    /// It is time to write what has been learned.
    pub due: bool,
}

impl Known {
    /// What the next status tells, where nothing else in it changes: an anomaly that begins or ends at once, all else when it is time.
    #[must_use]
    pub fn told<'a>(&'a self, present: Option<&'a Measurements>) -> Option<&'a Measurements> {
        let anomalies = |m: Option<&Measurements>| Source::ALL.map(|s| m.and_then(|m| s.of(m)).and_then(|m| m.anomaly));
        match &self.now {
            Some(now) if self.due || anomalies(Some(now)) != anomalies(present) => Some(now),
            _ => present,
        }
    }

    /// What a status tells that is written anyway.
    #[must_use]
    pub fn newest<'a>(&'a self, present: Option<&'a Measurements>) -> Option<&'a Measurements> {
        self.now.as_ref().or(present)
    }
}

/// Sets the condition `Anomalous`; there is none while nothing is measured.
pub fn report(measurements: Option<&Measurements>, conditions: &mut Conditions) {
    let measured = || Source::ALL.into_iter().filter_map(|s| Some((s, s.of(measurements?)?)));
    let unusual: Vec<_> = measured().filter_map(|(source, m)| Some((source, m.anomaly?))).collect();
    if let Some((_, first)) = unusual.first() {
        let reason = match first.cause {
            Cause::Slower => "SlowerThanBefore",
            Cause::Failing => "FailsMoreThanBefore",
        };
        let each = unusual.iter().map(|(source, anomaly)| {
            let what = match (source, anomaly.cause) {
                (Source::Probes, Cause::Slower) => "probes are answered later",
                (Source::Probes, Cause::Failing) => "more probes fail",
                (Source::Calls, Cause::Slower) => "calls are answered later",
                (Source::Calls, Cause::Failing) => "more calls fail",
            };
            format!("{what} than before since {} (surprise {:.1})", anomaly.since, anomaly.surprise)
        });
        conditions.set(ANOMALOUS, State::True, reason, each.collect::<Vec<_>>().join("; "));
    } else if measured().any(|(_, m)| m.surprise.is_some()) {
        conditions.set(ANOMALOUS, State::False, "AsBefore", "measurements are distributed as before");
    } else if measured().next().is_some() {
        conditions.set(ANOMALOUS, State::Unknown, "Learning", "too little has been measured to tell what is usual");
    } else {
        conditions.remove(ANOMALOUS);
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::{api::measurements::Anomaly, core::condition::find};

    fn measured(surprise: Option<f64>, cause: Option<Cause>) -> Option<Measured> {
        let anomaly = cause.map(|cause| Anomaly { cause, since: Timestamp::UNIX_EPOCH, surprise: 4.25 });
        Some(Measured { surprise, anomaly, ..Measured::default() })
    }

    fn said(measurements: Option<&Measurements>) -> Option<(String, String, String)> {
        let mut conditions = Conditions::from(&[], Some(1), Timestamp::UNIX_EPOCH);
        report(measurements, &mut conditions);
        find(&conditions.into_list(), ANOMALOUS).map(|c| (c.status.clone(), c.reason.clone(), c.message.clone()))
    }

    #[test]
    fn the_condition_says_what_is_unusual_and_since_when() {
        assert_eq!(said(None), None);
        assert_eq!(said(Some(&Measurements::default())), None);
        let word = |m: &Measurements| said(Some(m)).map(|(status, reason, _)| format!("{status} {reason}")).unwrap();
        let learning = Measurements { probes: measured(None, None), calls: None };
        assert_eq!(word(&learning), "Unknown Learning");
        let usual = Measurements { probes: measured(None, None), calls: measured(Some(0.3), None) };
        assert_eq!(word(&usual), "False AsBefore");
        let both = Measurements {
            probes: measured(Some(9.0), Some(Cause::Slower)),
            calls: measured(Some(0.1), Some(Cause::Failing)),
        };
        let (status, reason, message) = said(Some(&both)).unwrap();
        assert_eq!((status.as_str(), reason.as_str()), ("True", "SlowerThanBefore"));
        assert_eq!(
            message,
            "probes are answered later than before since 1970-01-01T00:00:00Z (surprise 4.2); \
             more calls fail than before since 1970-01-01T00:00:00Z (surprise 4.2)"
        );
    }

    #[test]
    fn only_an_anomaly_that_begins_or_ends_is_written_before_its_time() {
        let usual = Measurements { probes: measured(Some(0.1), None), calls: None };
        let newer = Measurements { probes: measured(Some(0.7), None), calls: measured(Some(0.1), None) };
        let slower = Measurements { probes: measured(Some(9.0), Some(Cause::Slower)), calls: None };
        let known = |now: &Measurements, due| Known { now: Some(now.clone()), due };
        assert_eq!(known(&newer, false).told(Some(&usual)), Some(&usual));
        assert_eq!(known(&newer, false).newest(Some(&usual)), Some(&newer));
        assert_eq!(known(&newer, true).told(Some(&usual)), Some(&newer));
        assert_eq!(known(&slower, false).told(Some(&usual)), Some(&slower));
        assert_eq!(known(&usual, false).told(Some(&slower)), Some(&usual));
        assert_eq!(known(&usual, false).told(None), None);
        let unknown = Known { now: None, due: true };
        assert_eq!((unknown.told(Some(&slower)), unknown.newest(Some(&slower))), (Some(&slower), Some(&slower)));
    }
}
