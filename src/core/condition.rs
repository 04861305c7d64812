//! Conditions that keep their transition time while their status stays (Kubernetes API conventions, "typical status
//! properties").

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// Longest message that is written.
const MAX_MESSAGE: usize = 1024;

/// What a condition says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// Not known yet.
    Unknown,
}

impl State {
    /// `True` when it holds, `False` otherwise.
    #[must_use]
    pub const fn of(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// The conditions of one object while a decision is made about it.
#[derive(Debug)]
pub struct Conditions {
    list: Vec<Condition>,
    generation: Option<i64>,
    now: Timestamp,
}

impl Conditions {
    /// Starts from the conditions of the object's present status.
    #[must_use]
    pub fn from(present: &[Condition], generation: Option<i64>, now: Timestamp) -> Self {
        Self { list: present.to_vec(), generation, now }
    }

    /// Sets one condition. Its transition time changes only when its status does.
    pub fn set(&mut self, type_: &str, state: State, reason: &str, message: impl Into<String>) {
        let mut message: String = message.into();
        if message.len() > MAX_MESSAGE {
            let end = (0..=MAX_MESSAGE).rev().find(|&i| message.is_char_boundary(i)).unwrap_or(0);
            message.truncate(end);
        }
        let old = self.list.iter().position(|c| c.type_ == type_);
        let since = match old.map(|i| &self.list[i]) {
            Some(c) if c.status == state.as_str() => c.last_transition_time.clone(),
            _ => Time(self.now),
        };
        let new = Condition {
            type_: type_.to_owned(),
            status: state.as_str().to_owned(),
            reason: reason.to_owned(),
            message,
            observed_generation: self.generation,
            last_transition_time: since,
        };
        match old {
            Some(i) => self.list[i] = new,
            None => self.list.push(new),
        }
    }

    /// Takes one condition away: `Reconciling` and `Stalled` are absent rather than False (kstatus).
    pub fn remove(&mut self, type_: &str) {
        self.list.retain(|c| c.type_ != type_);
    }

    /// Whether the conditions are what they were before.
    #[must_use]
    pub fn same_as(&self, present: &[Condition]) -> bool {
        self.list.len() == present.len() && self.list.iter().all(|c| present.contains(c))
    }

    /// The conditions, ordered by type, so that equal sets are equal lists.
    #[must_use]
    pub fn into_list(mut self) -> Vec<Condition> {
        self.list.sort_by(|a, b| a.type_.cmp(&b.type_));
        self.list
    }
}

/// The condition of this type.
#[must_use]
pub fn find<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|c| c.type_ == type_)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: i64) -> Timestamp {
        Timestamp::from_second(s).unwrap()
    }

    #[test]
    fn transition_time_moves_only_with_the_status() {
        let mut c = Conditions::from(&[], Some(1), at(10));
        c.set("Ready", State::False, "Waiting", "a");
        let first = c.into_list();
        let mut c = Conditions::from(&first, Some(2), at(20));
        c.set("Ready", State::False, "Other", "b");
        let second = c.into_list();
        assert_eq!(second[0].last_transition_time, first[0].last_transition_time);
        assert_eq!((second[0].reason.as_str(), second[0].observed_generation), ("Other", Some(2)));
        let mut c = Conditions::from(&second, Some(2), at(30));
        c.set("Ready", State::True, "Done", "");
        assert_eq!(c.into_list()[0].last_transition_time, Time(at(30)));
    }

    #[test]
    fn long_messages_are_cut_at_a_character() {
        let mut c = Conditions::from(&[], None, at(0));
        c.set("Ready", State::True, "X", "ä".repeat(1000));
        assert_eq!(c.into_list()[0].message.len(), 1024);
    }
}
