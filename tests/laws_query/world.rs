//! A namespace in which queries are answered and what is decided is carried out.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use medley::{
    api::{
        MedicalService, ServiceQuery, ServiceQuerySpec,
        data_use::{Confidentiality, Purpose},
        measurements::{Measured, Measurements},
        service_query::{EndpointSelector, Preference, Preferences, SignalWeight, WhenNoneReady},
    },
    core::{
        discovery::{
            decision::{OwnedKind, Wanted},
            query::{
                answer::{Answer, answer},
                decide::decide,
                filter,
                known::Known,
                view::{QueryDecision, QueryView, ServiceFacts, SignalFacts, SignalState},
            },
        },
        monitoring::sketch::{Counts, Sketch},
    },
};
use proptest::prelude::*;
use serde_json::{Value, json};

/// A service and its endpoints.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    pub(crate) service: MedicalService,
    pub(crate) known: Vec<Known>,
}

impl Offer {
    pub(crate) fn name(&self) -> &str {
        self.service.metadata.name.as_deref().unwrap()
    }

    /// Its calls and probes have usually taken so many milliseconds.
    pub(crate) fn learn(&mut self, calls: Option<f64>, probes: Option<f64>) {
        let learned = Measurements { calls: calls.map(measured), probes: probes.map(measured) };
        self.service.status.get_or_insert_default().measurements = Some(learned);
    }

    /// Its endpoints that are ready, as the status tells them.
    pub(crate) fn ready(&self) -> Vec<String> {
        self.known.iter().filter(|k| k.ready).map(|k| format!("{} {}", self.name(), k.endpoint)).collect()
    }
}

fn measured(ms: f64) -> Measured {
    let mut counts = Counts::default();
    (0..50).for_each(|_| counts.add(Some(Duration::from_secs_f64(ms / 1000.0))));
    let mut sketch = Sketch::default();
    sketch.add(&counts);
    Measured { record: sketch.record(), ..Measured::default() }
}

#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) query: ServiceQuery,
    pub(crate) offers: Vec<Offer>,
    pub(crate) core_service: Option<Service>,
    pub(crate) slices: Vec<EndpointSlice>,
    /// What is known of the signals that the query names.
    pub(crate) signals: Vec<SignalFacts>,
}

impl World {
    pub(crate) fn new(spec: ServiceQuerySpec, offers: Vec<Offer>) -> Self {
        let mut query = ServiceQuery::new("answer", spec);
        query.metadata.namespace = Some("radiology".to_owned());
        query.metadata.uid = Some("u1".to_owned());
        query.metadata.generation = Some(1);
        let named = query.spec.prefer.iter().flat_map(|p| &p.signals);
        let signals = named.map(|s| read(&s.name, &offers)).collect();
        Self { query, offers, core_service: None, slices: vec![], signals }
    }

    pub(crate) fn settled(spec: ServiceQuerySpec, offers: Vec<Offer>) -> Self {
        let mut world = Self::new(spec, offers);
        world.settle(10);
        world
    }

    pub(crate) fn facts(&self) -> Vec<ServiceFacts<'_>> {
        self.offers.iter().map(|o| ServiceFacts { service: &o.service, known: o.known.clone() }).collect()
    }

    pub(crate) fn decide(&self, now: i64) -> QueryDecision {
        let services = self.facts();
        let view = QueryView {
            query: &self.query,
            cluster_domain: "cluster.local",
            services: &services,
            signals: &self.signals,
            core_service: self.core_service.as_ref(),
            slices: self.slices.iter().collect(),
            refused: None,
            epoch: 1,
        };
        decide(&view, Timestamp::from_second(now).unwrap())
    }

    /// The answer as it is worked out from these facts, with nothing kept from before.
    pub(crate) fn answer<'f>(&self, facts: &'f [ServiceFacts<'_>]) -> Answer<'f> {
        let condition = self.query.spec.where_.as_deref().map(|w| filter::compile(w).unwrap());
        answer(&self.query.spec, condition.as_ref(), facts, &self.signals, &[])
    }

    /// Decides and performs until nothing changes; fails when that never happens.
    pub(crate) fn settle(&mut self, now: i64) -> QueryDecision {
        for _ in 0..8 {
            let decision = self.decide(now);
            let before = (self.core_service.clone(), self.slices.clone(), self.query.status.clone());
            self.perform(decision.clone());
            if before == (self.core_service.clone(), self.slices.clone(), self.query.status.clone()) {
                return decision;
            }
        }
        panic!("it does not settle: {:?}", self.decide(now));
    }

    fn perform(&mut self, decision: QueryDecision) {
        for wanted in decision.wanted {
            match wanted {
                Wanted::Service(o) => self.core_service = Some(*o),
                Wanted::EndpointSlice(o) => {
                    self.slices.retain(|s| s.metadata.name != o.metadata.name);
                    self.slices.push(*o);
                    self.slices.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
                }
                other => panic!("no query owns this: {other:?}"),
            }
        }
        for (kind, name) in decision.unwanted {
            match kind {
                OwnedKind::Service => self.core_service = None,
                OwnedKind::EndpointSlice => self.slices.retain(|s| s.metadata.name.as_deref() != Some(&name)),
                other => panic!("no query owns this: {other:?}"),
            }
        }
        if let Some(status) = decision.status {
            self.query.status = Some(status);
        }
    }

    /// The matches of the status: service and endpoint.
    pub(crate) fn told(&self) -> Vec<String> {
        let status = self.query.status.as_ref().unwrap();
        status.matches.iter().map(|m| format!("{} {}", m.service, m.endpoint)).collect()
    }
}

const SITES: [&str; 3] = ["north", "south", "east"];

fn service(name: &str, spec: &Value) -> MedicalService {
    let mut service: MedicalService = serde_json::from_value(json!({
        "apiVersion": "medley.health/v1alpha1", "kind": "MedicalService", "metadata": {"name": name, "namespace": "radiology"},
        "spec": {"external": {"endpoints": [{"host": "pacs.example"}]}},
    }).as_object().map(|o| {
        let mut object = Value::Object(o.clone());
        for (key, value) in spec.as_object().unwrap() {
            object["spec"][key] = value.clone();
        }
        object
    }).unwrap())
    .unwrap();
    service.metadata.uid = Some(format!("uid-{name}"));
    service
}

fn known(service: usize, ready: &[bool], v6: bool) -> Vec<Known> {
    let endpoint = |i: usize| {
        let address =
            if v6 { format!("[2001:db8::{service}:{i}]:104") } else { format!("192.0.{service}.{i}:{}", 80 + i % 2) };
        address.parse().unwrap()
    };
    let zone = |i: usize| (!i.is_multiple_of(3)).then(|| format!("z{}", i % 3));
    ready.iter().enumerate().map(|(i, ready)| Known { endpoint: endpoint(i), zone: zone(i), ready: *ready }).collect()
}

/// A signal that says something of most services, told by their names.
fn read(name: &str, offers: &[Offer]) -> SignalFacts {
    let value = |o: &Offer| {
        let number = o.name()[1..].parse::<u8>().unwrap_or(9);
        (!number.is_multiple_of(4)).then(|| (o.name().to_owned(), number * 37 % 21 * 5))
    };
    SignalFacts { name: name.to_owned(), state: SignalState::Read, values: offers.iter().filter_map(value).collect() }
}

/// How long calls and probes take, each where it is known.
type Learned = (Option<f64>, Option<f64>);

fn offer() -> impl Strategy<Value = (Value, Vec<bool>, bool, Learned)> {
    let capabilities = prop::sample::subsequence(vec!["triage", "read"], 0..=2);
    let data = prop::option::of((
        prop::option::of(prop::sample::select(vec!["L", "N", "R"])),
        prop::sample::subsequence(vec!["TREAT", "HRESCH", "BTG"], 0..=3),
    ));
    let protocol = prop::sample::select(vec!["HTTP", "DICOM"]);
    let site = prop::option::of(prop::sample::select(SITES.to_vec()));
    let ready = prop::collection::vec(any::<bool>(), 0..6);
    let learned = (prop::option::of(1.0..2000.0), prop::option::of(1.0..2000.0));
    (capabilities, data, protocol, site, ready, any::<bool>(), learned).prop_map(
        |(capabilities, data, protocol, site, ready, v6, learned)| {
            let interface = json!({"name": "main", "port": 80, "protocol": protocol});
            let mut spec = json!({"capabilities": capabilities, "interfaces": [interface]});
            if let Some(site) = site {
                spec["attributes"] = json!({"site": site});
            }
            if let Some((class, purposes)) = data {
                spec["data"] = json!({"purposes": purposes});
                if let Some(class) = class {
                    spec["data"]["maxConfidentiality"] = json!(class);
                }
            }
            (spec, ready, v6, learned)
        },
    )
}

/// Any services: the same place in the list is the same service.
pub(crate) fn offers() -> impl Strategy<Value = Vec<Offer>> {
    prop::collection::vec(offer(), 0..7).prop_map(|list| {
        let made = list.into_iter().enumerate().map(|(i, (spec, ready, v6, (calls, probes)))| {
            let mut offer = Offer { service: service(&format!("s{i}"), &spec), known: known(i + 1, &ready, v6) };
            offer.learn(calls, probes);
            offer
        });
        made.collect()
    })
}

/// Services that all match, each with so many of its endpoints ready.
pub(crate) fn fixed(services: &[(&str, usize, usize)]) -> Vec<Offer> {
    let made = services.iter().enumerate().map(|(i, (name, ready, all))| {
        let spec = json!({"interfaces": [{"name": "main", "port": 80, "protocol": "HTTP"}]});
        let states: Vec<bool> = (0..*all).map(|n| n < *ready).collect();
        Offer { service: service(name, &spec), known: known(i + 1, &states, false) }
    });
    made.collect()
}

fn selector() -> impl Strategy<Value = EndpointSelector> {
    prop_oneof![
        prop::sample::subsequence(vec!["z1", "z2"], 1..=2).prop_map(|zones| EndpointSelector {
            zones: zones.into_iter().map(str::to_owned).collect(),
            ..EndpointSelector::default()
        }),
        prop::sample::select(SITES.to_vec()).prop_map(|site| EndpointSelector {
            attributes: [("site".to_owned(), site.to_owned())].into(),
            ..EndpointSelector::default()
        }),
    ]
}

/// Any question.
pub(crate) fn question() -> impl Strategy<Value = ServiceQuerySpec> {
    let preference = (selector(), 1_u8..=100).prop_map(|(matches, weight)| Preference { matches, weight });
    let weight = || prop::option::of(1_u8..=100);
    let signals = prop::option::of((1_u8..=100).prop_map(|weight| SignalWeight { name: "free".to_owned(), weight }));
    let prefer = prop::option::of((weight(), weight(), signals, prop::collection::vec(preference, 0..3)));
    let condition = prop::sample::select(vec![
        None,
        Some("'site' in service.attributes && service.attributes.site != 'east'"),
        Some("service.attributes.site == 'north'"),
        Some("service.capabilities.exists(c, c == 'read') || service.name == 's1'"),
    ]);
    let data = (
        prop::option::of(prop::sample::select(Purpose::ALL.to_vec())),
        prop::option::of(prop::sample::select(vec![Confidentiality::L, Confidentiality::N])),
    );
    (
        prop::option::of(prop::sample::select(vec!["triage", "read"])),
        prop::option::weighted(
            0.7,
            prop::sample::select(vec![medley::api::Protocol::Http, medley::api::Protocol::Dicom]),
        ),
        condition,
        (
            prop::option::weighted(0.3, data),
            prop::option::of(prop::sample::select(vec![WhenNoneReady::Keep, WhenNoneReady::Empty])),
        ),
        prop::collection::vec(selector(), 0..3),
        prefer,
        prop::option::of(1_u16..=10000),
        prop::option::of(1_u16..=4),
    )
        .prop_map(
            |(capability, protocol, condition, (data, when_none_ready), tiers, prefer, temperature, max_targets)| {
                let (purpose, confidentiality) = data.unwrap_or_default();
                ServiceQuerySpec {
                    capability: capability.map(str::to_owned),
                    interface: protocol.is_none().then(|| "main".to_owned()),
                    protocol,
                    where_: condition.map(str::to_owned),
                    purpose,
                    confidentiality,
                    port: 80,
                    tiers,
                    prefer: prefer.map(|(health, latency, signals, matching)| Preferences {
                        health,
                        latency,
                        signals: signals.into_iter().collect(),
                        matching,
                    }),
                    temperature,
                    max_targets,
                    when_none_ready,
                }
            },
        )
}
