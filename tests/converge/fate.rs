//! How a pod fares: whether it starts, how long it runs, how it ends.

use std::time::Duration;

use serde_json::Value;

/// How a pod fares.
#[derive(Clone, Debug)]
pub(crate) struct Fate {
    pub(super) runs: Option<Duration>,
    pub(super) end: End,
}

/// What its end is.
#[derive(Clone, Debug)]
pub(super) enum End {
    Exit(i32, String),
    Evicted,
    Gone,
    Waits(&'static str),
    Unplaced,
}

impl Fate {
    /// Whether the container ends with exit code 0.
    pub(super) const fn is_good(&self) -> bool {
        matches!(self.end, End::Exit(0, _))
    }

    /// Whether the pod is taken away.
    pub(super) const fn is_evicted(&self) -> bool {
        matches!(self.end, End::Evicted)
    }

    /// Whether the kubelet gets to see the pod: only then its deadline counts.
    pub(super) const fn has_place(&self) -> bool {
        !matches!(self.end, End::Unplaced)
    }
}

/// Runs this long and ends well with this result.
pub(crate) fn works(runs: Duration, result: &Value) -> Fate {
    Fate { runs: Some(runs), end: End::Exit(0, result.to_string()) }
}

/// Ends with this exit code.
pub(crate) fn exits(code: i32) -> Fate {
    Fate { runs: Some(Duration::from_millis(200)), end: End::Exit(code, String::new()) }
}

/// Is evicted after this long.
pub(crate) fn evicted(runs: Duration) -> Fate {
    Fate { runs: Some(runs), end: End::Evicted }
}

/// Its object goes away this long after it was made, whatever it was doing: its node is lost, or somebody deletes it.
pub(crate) fn vanishes(after: Duration) -> Fate {
    Fate { runs: Some(after), end: End::Gone }
}

/// Never starts: the container waits with this reason of the kubelet.
pub(crate) fn waits(reason: &'static str) -> Fate {
    Fate { runs: None, end: End::Waits(reason) }
}

/// The scheduler finds no place for it.
pub(crate) fn unplaced() -> Fate {
    Fate { runs: None, end: End::Unplaced }
}

/// Never ends by itself.
pub(crate) fn hangs() -> Fate {
    Fate { runs: None, end: End::Evicted }
}
