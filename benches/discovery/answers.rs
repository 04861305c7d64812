//! From a probe that finds an endpoint's health changed to the slices that say so: those of the service and of all queries it answers.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::Ipv4Addr,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{
    Api, ResourceExt,
    api::PostParams,
    runtime::{WatchStreamExt, watcher},
};
use medley::{
    api::ServiceQuery,
    render::{QUERY_LABEL, SERVICE_LABEL},
};
use serde_json::json;
use tokio::{sync::watch, task::AbortHandle};

use super::{
    common::figures::{Figures, quantile},
    field::{CAPABILITIES, ENDPOINTS, Field, SERVICES, host, kind},
    peers::{INTERVAL, Peers},
    protocols::Kind,
};
use crate::support::{requests::asked, until};

const QUERIES: usize = 500;
/// Endpoints that fail and recover.
const TRIALS: usize = 100;
/// Of them, how many are away at a time.
const AWAY: usize = 20;
/// Whose next probe is sooner is not turned: it might be under way.
const SOONEST: Duration = Duration::from_millis(50);
/// After a change, before the next: its statuses have been written.
const BETWEEN: Duration = Duration::from_secs(1);
/// Only services with one of so many capabilities change, so that most queries are not concerned.
const CHANGING: usize = 5;
const LIMIT: Duration = Duration::from_secs(120);

/// A slice: the label that tells what it is of, and its name.
type Slice = (&'static str, String);

/// The addresses of all slices, as a watch tells them.
struct Watched {
    seen: Arc<Mutex<Seen>>,
    changed: watch::Receiver<()>,
    task: AbortHandle,
}

#[derive(Default)]
struct Seen {
    /// Name of the service or query that each slice is of.
    owners: HashMap<Slice, String>,
    addresses: HashMap<Slice, BTreeSet<String>>,
    /// When each address last came into or left a slice, as the time since 1970.
    moved: HashMap<String, BTreeMap<Slice, (bool, Duration)>>,
}

impl Seen {
    fn take(&mut self, slice: &EndpointSlice) {
        let labels = slice.labels();
        let Some(label) = [SERVICE_LABEL, QUERY_LABEL].into_iter().find(|label| labels.contains_key(*label)) else {
            return;
        };
        let at = SystemTime::UNIX_EPOCH.elapsed().unwrap();
        let key = (label, slice.name_any());
        self.owners.insert(key.clone(), labels[label].clone());
        let ready =
            slice.endpoints.iter().flatten().filter(|e| e.conditions.as_ref().is_none_or(|c| c.ready != Some(false)));
        let now: BTreeSet<String> = ready.flat_map(|e| e.addresses.iter().cloned()).collect();
        let before = self.addresses.insert(key.clone(), now.clone()).unwrap_or_default();
        for address in before.symmetric_difference(&now) {
            let moved = self.moved.entry(address.clone()).or_default();
            moved.insert(key.clone(), (now.contains(address), at));
        }
    }

    /// The slices with this address.
    fn holding(&self, address: &str) -> Vec<Slice> {
        self.addresses.iter().filter(|(_, all)| all.contains(address)).map(|(slice, _)| slice.clone()).collect()
    }
}

impl Watched {
    fn of(field: &Field<'_>) -> Self {
        let api: Api<EndpointSlice> = Api::namespaced(field.stage.client.clone(), &field.space);
        let seen = Arc::<Mutex<Seen>>::default();
        let (sender, changed) = watch::channel(());
        let all = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            let mut stream =
                std::pin::pin!(watcher(api, watcher::Config::default()).default_backoff().applied_objects());
            while let Some(slice) = stream.try_next().await.unwrap() {
                all.lock().unwrap().take(&slice);
                sender.send_replace(());
            }
        });
        Self { seen, changed, task: task.abort_handle() }
    }

    /// Waits until the address has come into these slices, or left them; when each did.
    async fn moved(&self, address: &str, slices: &[Slice], to: bool) -> BTreeMap<Slice, Duration> {
        let mut changed = self.changed.clone();
        let waiting = async {
            loop {
                changed.borrow_and_update();
                {
                    let seen = self.seen.lock().unwrap();
                    let moved = seen.moved.get(address).into_iter().flatten();
                    let moved: BTreeMap<Slice, Duration> = moved
                        .filter(|(slice, (there, _))| *there == to && slices.contains(slice))
                        .map(|(slice, (_, at))| (slice.clone(), *at))
                        .collect();
                    if moved.len() == slices.len() {
                        return moved;
                    }
                }
                changed.changed().await.unwrap();
            }
        };
        tokio::time::timeout(LIMIT, waiting).await.unwrap_or_else(|_| panic!("{address} has not moved in {slices:?}"))
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn query(i: usize) -> ServiceQuery {
    let mut spec = json!({
        "capability": format!("c{}", i % CAPABILITIES), "protocol": "HTTP", "port": 80, "purpose": "ETREAT",
        "confidentiality": "N", "prefer": { "health": 2 },
    });
    if i.is_multiple_of(2) {
        spec["where"] = json!("'site' in service.attributes && service.attributes.site != 'site-9'");
    }
    serde_json::from_value(json!({
        "apiVersion": "medley.health/v1alpha1", "kind": "ServiceQuery", "metadata": { "name": format!("q{i:03}") }, "spec": spec,
    }))
    .unwrap()
}

/// How long the changes of one endpoint took, in milliseconds: its service's slice, and the last of the queries' slices.
#[derive(Default)]
struct Took {
    service: Vec<f64>,
    queries: Vec<f64>,
}

impl Took {
    fn add(&mut self, probed: Duration, moved: &BTreeMap<Slice, Duration>) {
        let last = |label: &str| {
            let at = moved.iter().filter(|((l, _), _)| *l == label).map(|(_, at)| *at).max().unwrap();
            at.saturating_sub(probed).as_secs_f64() * 1e3
        };
        self.service.push(last(SERVICE_LABEL));
        self.queries.push(last(QUERY_LABEL));
    }
}

/// Endpoints that fail and recover, one after the other: each change is alone.
struct Trials {
    well: Vec<Ipv4Addr>,
    /// With the slices that they have left.
    sick: Vec<(Ipv4Addr, Vec<Slice>)>,
    gone: Took,
    back: Took,
}

impl Trials {
    /// Turns the endpoint that is probed next; the services and queries that are concerned.
    async fn change(&mut self, peers: &mut Peers, watched: &Watched) -> Vec<String> {
        let mut due = |address: Ipv4Addr| {
            let until = INTERVAL.saturating_sub(peers.since(address).unwrap());
            if until < SOONEST { Duration::MAX } else { until }
        };
        let failing = self.sick.len() < AWAY && self.gone.service.len() < TRIALS;
        let well = if failing { self.well.as_slice() } else { &[] };
        let next_to_fail = well.iter().enumerate().map(|(i, a)| (due(*a), i)).min();
        let next_to_recover = self.sick.iter().enumerate().map(|(i, (a, _))| (due(*a), i)).min();
        let fails = next_to_recover.is_none_or(|(at, _)| next_to_fail.is_some_and(|(sooner, _)| sooner < at));
        let (address, slices) = match (fails, next_to_fail, next_to_recover) {
            (true, Some((_, i)), _) => {
                let address = self.well.swap_remove(i);
                (address, watched.seen.lock().unwrap().holding(&address.to_string()))
            }
            (_, _, Some((_, i))) => self.sick.swap_remove(i),
            _ => unreachable!("one is well or sick"),
        };
        assert!(slices.len() > 1, "{address} is in no answer");
        peers.turn(address, !fails);
        let moved = watched.moved(&address.to_string(), &slices, !fails).await;
        let probed = peers.turned(address).unwrap();
        let concerned = slices.iter().map(|slice| watched.seen.lock().unwrap().owners[slice].clone()).collect();
        if fails {
            self.gone.add(probed, &moved);
            self.sick.push((address, slices));
        } else {
            self.back.add(probed, &moved);
        }
        concerned
    }
}

pub(crate) async fn of_one_endpoint(field: &mut Field<'_>, figures: &mut Figures) {
    println!(
        "  {QUERIES} queries beside {SERVICES} services and {ENDPOINTS} endpoints that are probed; {TRIALS} endpoints fail and recover"
    );
    let api: Api<ServiceQuery> = Api::namespaced(field.stage.client.clone(), &field.space);
    stream::iter((0..QUERIES).map(query))
        .map(|query| {
            let api = &api;
            async move { api.create(&PostParams::default(), &query).await.unwrap() }
        })
        .buffer_unordered(8)
        .for_each(|_| async {})
        .await;
    let watched = Watched::of(field);
    // of the 40 services with a capability 12 speak HTTP, with five endpoints each
    let of_query = |seen: &Seen| {
        seen.addresses.iter().filter(|((label, _), all)| *label == QUERY_LABEL && all.len() == 60).count()
    };
    until("all queries are answered", LIMIT * 3, async || {
        (of_query(&watched.seen.lock().unwrap()) == QUERIES).then_some(())
    })
    .await;
    // the statuses follow the slices
    tokio::time::sleep(Duration::from_secs(10)).await;
    let before = asked(field.stage).await.len();

    let changing = (0..SERVICES)
        .filter(|i| kind(*i) == Kind::Http && i % CAPABILITIES < CHANGING)
        .flat_map(|i| (0..5).map(move |n| host(i, n)));
    let mut trials =
        Trials { well: changing.collect(), sick: Vec::new(), gone: Took::default(), back: Took::default() };
    let mut concerned = BTreeSet::new();
    while trials.back.service.len() < TRIALS {
        concerned.extend(trials.change(&mut field.peers, &watched).await);
        tokio::time::sleep(BETWEEN).await;
    }
    let Trials { gone, back, .. } = trials;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let requests = asked(field.stage).await;
    let kinds = ["endpointslices", "servicequeries/status", "medicalservices/status", "services"];
    let writes: Vec<_> = requests[before..]
        .iter()
        .filter(|a| a.user == field.operator.user && a.is_write() && kinds.contains(&a.resource.as_str()))
        .collect();
    // a slice's name begins with that of its service or query
    let others = writes.iter().filter(|a| !concerned.iter().any(|c| a.name.starts_with(c.as_str()))).count();
    let queries = concerned.iter().filter(|c| c.starts_with('q')).count();
    println!("    {} writes for {} changes; {queries} queries of {QUERIES} concerned", writes.len(), TRIALS * 2);
    for (what, mut took) in [("fails", gone), ("recovers", back)] {
        let name = format!("an endpoint {what}: from its probe to its service's slice");
        figures.add(&format!("{name}, p50"), quantile(&mut took.service, 0.5), "ms");
        figures.add(&format!("{name}, p99"), quantile(&mut took.service, 0.99), "ms");
        figures.add("  to the slices of all ten queries, p50", quantile(&mut took.queries, 0.5), "ms");
        figures.at_most("  to the slices of all ten queries, p99", quantile(&mut took.queries, 0.99), "ms", 250.0);
        figures.add("  to the slices of all ten queries, most", quantile(&mut took.queries, 1.0), "ms");
    }
    figures.add("writes for one change of health", writes.len() as f64 / (TRIALS * 2) as f64, "");
    figures.at_most("writes for services and queries that are not concerned", others as f64, "", 0.0);
}
