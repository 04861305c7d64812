//! Changes of services, or of the answers to queries, as server-sent events (HTML Living Standard, section 9.2).
//!
//! A stream begins with what there is, one event `set` for each service or answer, then `synced`; then `set` and `delete` as things change. A
//! client that is too slow is told `resync`, forgets what it knows, and gets everything again. What waits for a client is a bounded list of
//! names: a service or an answer is looked up when its turn comes.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    convert::Infallible,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    extract::{Query, State},
    http::HeaderMap,
    response::{
        IntoResponse, Response, Sse,
        sse::{Event, KeepAlive},
    },
};
use futures::stream::unfold;
use serde_json::json;
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    time::{Instant, Interval, interval_at, sleep_until},
};

use super::{
    access::{Refusal, allowed, token},
    registry::{Parameters, Registry, pairs},
};
use crate::{
    cluster::review::Deed,
    core::{
        name::Key,
        registry::{Item, Kind, Problem, Told, ask::Answers, filter::Filter},
    },
};

/// Most streams at a time.
const STREAMS: usize = 256;
/// Most streams of one user.
const OF_ONE: usize = 16;
/// How often a right is looked at anew.
const REVIEW: Duration = Duration::from_secs(30);
/// How long a stream lasts; clients connect again by themselves.
const LASTS: Duration = Duration::from_secs(600);
/// How often a comment is sent when nothing happens.
const ALIVE: Duration = Duration::from_secs(15);

/// The streams that are open, by the hash of their user.
#[derive(Debug, Default)]
pub(super) struct Streams(Mutex<HashMap<String, usize>>);

/// The place of a stream.
struct Place {
    streams: Arc<Streams>,
    user: String,
}

impl Streams {
    fn open(self: &Arc<Self>, user: &str) -> Option<Place> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if open.values().sum::<usize>() >= STREAMS || open.get(user).is_some_and(|n| *n >= OF_ONE) {
            return None;
        }
        *open.entry(user.to_owned()).or_default() += 1;
        Some(Place { streams: Arc::clone(self), user: user.to_owned() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.streams.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.user);
            }
        }
    }
}

/// What a client follows.
enum Asked {
    Services(Filter),
    Answers(Answers),
}

impl Asked {
    const fn kind(&self) -> Kind {
        match self {
            Self::Services(_) => Kind::Service,
            Self::Answers(_) => Kind::Query,
        }
    }

    fn covers(&self, item: &Item) -> bool {
        item.kind == self.kind()
            && match self {
                Self::Services(filter) => filter.covers(&item.key),
                Self::Answers(asked) => asked.covers(&item.key),
            }
    }

    fn matches(&self, told: &Told) -> bool {
        match (self, told) {
            (Self::Services(filter), Told::Service(record)) => filter.matches(record),
            (Self::Answers(_), Told::Answer(_)) => true,
            _ => false,
        }
    }

    /// What one must be allowed.
    fn deed(&self) -> Deed {
        let (namespace, name) = match self {
            Self::Services(filter) => (filter.namespace.clone(), None),
            Self::Answers(asked) => (asked.namespace.clone(), asked.name.clone()),
        };
        Deed::Objects { kind: self.kind(), verb: "watch", namespace, name }
    }
}

/// One stream.
struct Stream {
    registry: Registry,
    asked: Asked,
    deed: Deed,
    token: String,
    feed: Receiver<Item>,
    /// Whose turn it is.
    turns: VecDeque<Key>,
    /// Whether the turns are those of everything.
    listing: bool,
    /// What the client knows, by a hash of what it was told.
    shown: BTreeMap<Key, u64>,
    review: Interval,
    ends: Instant,
    _place: Place,
}

/// Services as they change.
pub(super) async fn services(
    State(registry): State<Registry>,
    headers: HeaderMap,
    Query(parameters): Parameters,
) -> Result<Response, Refusal> {
    let filter = Filter::parse(pairs(&parameters), false)?;
    watch(registry, &headers, Asked::Services(filter)).await
}

/// Answers as they change.
pub(super) async fn answers(
    State(registry): State<Registry>,
    headers: HeaderMap,
    Query(parameters): Parameters,
) -> Result<Response, Refusal> {
    let asked = Answers::parse(pairs(&parameters), false)?;
    watch(registry, &headers, Asked::Answers(asked)).await
}

async fn watch(registry: Registry, headers: &HeaderMap, asked: Asked) -> Result<Response, Refusal> {
    let deed = asked.deed();
    let bearer = token(headers);
    let user = allowed(&registry.reviews, bearer, &deed).await?;
    registry.known()?;
    let place = registry.streams.open(user.digest()).ok_or_else(Problem::too_many_streams)?;
    let mut stream = Stream {
        token: bearer.unwrap_or_default().to_owned(),
        feed: registry.caches.changes.listen(),
        turns: VecDeque::new(),
        listing: true,
        shown: BTreeMap::new(),
        review: interval_at(Instant::now() + REVIEW, REVIEW),
        ends: Instant::now() + LASTS,
        _place: place,
        registry,
        asked,
        deed,
    };
    stream.everything();
    let events = unfold(stream, |mut stream| async {
        let event = stream.next().await?;
        Some((Ok::<_, Infallible>(event), stream))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(ALIVE)).into_response())
}

impl Stream {
    /// Everything has its turn.
    fn everything(&mut self) {
        let items = self.registry.caches.items(self.asked.kind());
        self.turns = items.into_iter().filter(|item| self.asked.covers(item)).map(|item| item.key).collect();
        self.listing = true;
    }

    /// The next event; `None` at the end.
    async fn next(&mut self) -> Option<Event> {
        loop {
            while let Some(key) = self.turns.pop_front() {
                if let Some(event) = self.show(&key) {
                    return Some(event);
                }
            }
            if std::mem::take(&mut self.listing) {
                return Some(Event::default().event("synced").data("{}"));
            }
            tokio::select! {
                () = self.registry.stop.cancelled() => return None,
                () = sleep_until(self.ends) => return None,
                _ = self.review.tick() => {
                    // without an answer it goes on until the next look
                    let refused = allowed(&self.registry.reviews, Some(&self.token), &self.deed).await.err();
                    if refused.is_some_and(|problem| problem.status != 503) {
                        return None;
                    }
                }
                changed = self.feed.recv() => match changed {
                    Ok(item) if self.asked.covers(&item) => self.turns.push_back(item.key),
                    Ok(_) => {}
                    Err(RecvError::Lagged(_)) => {
                        self.shown.clear();
                        self.everything();
                        return Some(Event::default().event("resync").data("{}"));
                    }
                    Err(RecvError::Closed) => return None,
                }
            }
        }
    }

    /// What has become of a service or an answer, if the client does not know it.
    fn show(&mut self, key: &Key) -> Option<Event> {
        let item = Item { kind: self.asked.kind(), key: key.clone() };
        let told = self.registry.caches.told(&item).filter(|told| self.asked.matches(told));
        let Some(told) = told else {
            self.shown.remove(key)?;
            let data = json!({"namespace": key.namespace, "name": key.name});
            return Some(Event::default().event("delete").data(data.to_string()));
        };
        let text = serde_json::to_string(&told).unwrap_or_default();
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        let hash = hasher.finish();
        let known = self.shown.insert(key.clone(), hash) == Some(hash);
        (!known).then(|| Event::default().event("set").data(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_user_leaves_streams_for_others_and_places_come_back() {
        let streams = Arc::<Streams>::default();
        let mut places: Vec<Place> = (0..OF_ONE).map(|_| streams.open("a").unwrap()).collect();
        assert!(streams.open("a").is_none());
        places.extend((0..(STREAMS - OF_ONE)).map(|i| streams.open(&format!("b{}", i / 2)).unwrap()));
        assert!(streams.open("c").is_none());
        places.clear();
        assert!(streams.0.lock().unwrap().is_empty());
        assert!(streams.open("a").is_some());
    }
}
