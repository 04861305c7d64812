//! Laws of the registry's mirrors: whatever a store holds, what is done to it leaves exactly what should be there.
#![allow(clippy::unwrap_used)] // helpers of tests: a failure is a failed test

use std::collections::{BTreeMap, BTreeSet};

use medley::{
    api::{service_query::QueryMatch, vocabulary::Protocol},
    core::{
        name::Key,
        registry::{
            Command, Content, Held, InterfaceRecord, Item, Kind, MANAGED_BY, MANAGER, Record, Reply, Told, key_of,
            plan, sets_of,
        },
    },
};
use proptest::{collection, prelude::*, sample};

/// What a store does with commands.
fn apply(content: &Content, commands: &[Command]) -> Content {
    let mut content = content.clone();
    for command in commands {
        match command {
            Command::Put(item, fields) => {
                content.hashes.insert(item.clone(), Held::Ours(fields.clone()));
            }
            Command::Drop(item) => {
                content.hashes.remove(item);
            }
            Command::Add(set, members) => content.sets.entry(set.clone()).or_default().extend(members.iter().cloned()),
            Command::Remove(set, members) => {
                let there = content.sets.entry(set.clone()).or_default();
                there.retain(|m| !members.contains(m));
                if there.is_empty() {
                    content.sets.remove(set);
                }
            }
        }
    }
    content
}

const NAMES: [&str; 5] = ["pacs", "ris", "lab", "archive", "reader"];

fn record() -> impl Strategy<Value = Record> {
    let interface = (sample::select(vec![Protocol::Fhir, Protocol::Dicom, Protocol::Http]), 1u16..3).prop_map(
        |(protocol, port)| InterfaceRecord {
            name: format!("i{port}"),
            protocol,
            tls: false,
            port,
            base_path: None,
            endpoints: Vec::new(),
        },
    );
    (
        sample::select(vec!["a", "b"]),
        sample::select(NAMES.to_vec()),
        0u32..3,
        proptest::option::of(Just("x.svc".to_owned())),
        collection::vec(interface, 1..3),
    )
        .prop_map(|(namespace, name, ready, dns_name, interfaces)| Record {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            dns_name,
            ready,
            total: 3,
            generation: 1,
            capabilities: if ready > 1 { vec!["ct".to_owned(), "mr".to_owned()] } else { Vec::new() },
            attributes: BTreeMap::new(),
            interfaces,
        })
}

fn reply() -> impl Strategy<Value = Reply> {
    (sample::select(vec!["a", "b"]), sample::select(NAMES.to_vec()), 0usize..3).prop_map(
        |(namespace, name, matched)| {
            let endpoint = QueryMatch {
                service: "pacs".to_owned(),
                interface: "i1".to_owned(),
                endpoint: "10.0.0.1:104".to_owned(),
                zone: None,
                tier: None,
                probability: 50,
                score: Default::default(),
            };
            let (namespace, name) = (namespace.to_owned(), Some(name.to_owned()));
            Reply { namespace, name, current: matched > 0, matches: vec![endpoint; matched], ..Reply::default() }
        },
    )
}

fn wanted() -> impl Strategy<Value = Content> {
    let told = prop_oneof![2 => record().prop_map(Told::Service), 1 => reply().prop_map(Told::Answer)];
    collection::vec(told, 0..10).prop_map(|told| {
        let latest: BTreeMap<_, _> = told.into_iter().map(|t| (t.item(), t)).collect();
        Content::of(latest.values())
    })
}

/// Anything that could be found in a store.
fn held() -> impl Strategy<Value = Content> {
    let key = || (sample::select(vec!["a", "b", "c"]), sample::select(NAMES.to_vec()));
    let item = (sample::select(vec![Kind::Service, Kind::Query]), key())
        .prop_map(|(kind, (namespace, name))| Item { kind, key: Key::new(namespace, name) });
    let member = key().prop_map(|(namespace, name)| format!("{namespace}/{name}"));
    let set = sample::select(vec![
        "services",
        "queries",
        "namespace:a",
        "namespace:c",
        "protocol:FHIR",
        "protocol:DICOM",
        "protocol:TCP",
    ]);
    let hash = collection::btree_map(
        sample::select(vec!["ready", "protocols", "namespace", "interface:i9"]),
        sample::select(vec!["", "1", "FHIR", "FHIR,DICOM", "a"]),
        0..4,
    );
    let hash = hash.prop_map(|fields| {
        let mut fields: BTreeMap<String, String> =
            fields.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        fields.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
        Held::Ours(fields)
    });
    let there = prop_oneof![3 => hash, 1 => Just(Held::Foreign)];
    let other = (
        collection::btree_map(item, there, 0..8),
        collection::btree_map(set.prop_map(str::to_owned), collection::btree_set(member, 1..4), 0..5),
    )
        .prop_map(|(hashes, sets)| Content { hashes, sets });
    prop_oneof![3 => other, 1 => wanted()]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(1024), ..ProptestConfig::default() })]

    #[test]
    fn what_is_ours_becomes_what_is_wanted_and_what_is_foreign_stays(held in held(), wanted in wanted()) {
        let after = apply(&held, &plan(&held, &wanted));
        let foreign = |content: &Content| -> BTreeSet<Item> {
            content.hashes.iter().filter(|(_, h)| **h == Held::Foreign).map(|(s, _)| s.clone()).collect()
        };
        prop_assert_eq!(foreign(&after), foreign(&held));
        let ours = |content: &Content| -> BTreeMap<Item, Held> {
            let not_barred = |s: &Item| held.hashes.get(s) != Some(&Held::Foreign);
            content.hashes.iter().filter(|(s, _)| not_barred(s)).map(|(s, h)| (s.clone(), h.clone())).collect()
        };
        prop_assert_eq!(ours(&after), ours(&wanted));
        let expected = Content { hashes: ours(&wanted), sets: BTreeMap::new() }.with_presumed_sets();
        prop_assert_eq!(&after.sets, &expected.sets);
        prop_assert_eq!(plan(&after, &wanted), Vec::new(), "done once is done");
    }

    #[test]
    fn one_service_or_answer_can_be_set_right_by_itself_where_the_sets_follow_from_the_hashes(before in wanted(), after in wanted()) {
        let mut store = before.clone();
        let items: BTreeSet<Item> = before.hashes.keys().chain(after.hashes.keys()).cloned().collect();
        for item in items {
            let one = |content: &Content| {
                let hashes = content.hashes.iter().filter(|(s, _)| **s == item);
                let hashes = hashes.map(|(s, h)| (s.clone(), h.clone())).collect();
                Content { hashes, sets: BTreeMap::new() }.with_presumed_sets()
            };
            store = apply(&store, &plan(&one(&store), &one(&after)));
        }
        prop_assert_eq!(store, after);
    }
}

#[test]
fn a_hash_tells_by_itself_which_sets_its_service_is_in() {
    let fields = |protocols: &str| {
        BTreeMap::from([
            ("namespace".to_owned(), "radiology".to_owned()),
            ("protocols".to_owned(), protocols.to_owned()),
        ])
    };
    assert_eq!(
        sets_of(Kind::Service, &fields("DICOM,FHIR")),
        ["namespace:radiology", "protocol:DICOM", "protocol:FHIR", "services"].map(str::to_owned).into()
    );
    assert_eq!(sets_of(Kind::Query, &fields("DICOM")), ["queries"].map(str::to_owned).into());
    assert_eq!(key_of("radiology/pacs").unwrap().name, "pacs");
    assert_eq!(key_of("radiology"), None);
}
