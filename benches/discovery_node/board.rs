//! What was seen of each name and each slice, and when.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

const LIMIT: Duration = Duration::from_secs(60);

/// What a key has stood for, and since when.
type States = Vec<(Instant, BTreeSet<String>)>;

/// All that was seen. A key is a name and the kind of record that was asked for, or the Service that slices are of.
pub(crate) struct Board {
    seen: Mutex<BTreeMap<String, States>>,
    changed: watch::Sender<()>,
}

impl Board {
    pub(crate) fn new() -> Self {
        Self { seen: Mutex::default(), changed: watch::Sender::new(()) }
    }

    /// Takes down what is there now.
    pub(crate) fn tell(&self, key: &str, now: BTreeSet<String>) {
        let mut seen = self.seen.lock().unwrap();
        let states = seen.entry(key.to_owned()).or_default();
        if states.last().is_none_or(|(_, last)| *last != now) {
            states.push((Instant::now(), now));
            drop(seen);
            self.changed.send_replace(());
        }
    }

    /// How long after `since` this has come into what `key` stands for (`there`), or has left it.
    pub(crate) async fn moved(&self, key: &str, what: &str, there: bool, since: Instant) -> Duration {
        let mut changed = self.changed.subscribe();
        let seen = async {
            loop {
                changed.borrow_and_update();
                let at = self.seen.lock().unwrap().get(key).and_then(|states| {
                    let mut later = states.iter().filter(|(at, _)| *at >= since);
                    later.find(|(_, all)| all.contains(what) == there).map(|(at, _)| *at)
                });
                match at {
                    Some(at) => return at - since,
                    None => changed.changed().await.unwrap(),
                }
            }
        };
        timeout(LIMIT, seen).await.unwrap_or_else(|_| panic!("{what} has not moved in {key} (there: {there})"))
    }

    /// What each key stands for now.
    pub(crate) fn now(&self) -> BTreeMap<String, BTreeSet<String>> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter_map(|(key, states)| Some((key.clone(), states.last()?.1.clone()))).collect()
    }

    /// What has changed since then: keys, and what they stood for.
    pub(crate) fn since(&self, since: Instant) -> Vec<(String, BTreeSet<String>)> {
        let seen = self.seen.lock().unwrap();
        let of = |(key, states): (&String, &States)| {
            let later = states.iter().filter(|(at, _)| *at >= since);
            later.map(|(_, all)| (key.clone(), all.clone())).collect::<Vec<_>>()
        };
        seen.iter().flat_map(of).collect()
    }
}
