//! Laws of the registry's mirrors: whatever a store holds, what is done to it leaves exactly what should be there.
#![allow(clippy::unwrap_used)] // helpers of tests: a failure is a failed test

use std::collections::{BTreeMap, BTreeSet};

use medley::{
    api::vocabulary::Protocol,
    core::registry::{Command, Content, Held, InterfaceRecord, MANAGED_BY, MANAGER, Record, key_of, plan, sets_of},
};
use proptest::{collection, prelude::*, sample};

/// What a store does with commands.
fn apply(content: &Content, commands: &[Command]) -> Content {
    let mut content = content.clone();
    for command in commands {
        match command {
            Command::Put(service, fields) => {
                content.services.insert(service.clone(), Held::Ours(fields.clone()));
            }
            Command::Drop(service) => {
                content.services.remove(service);
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

fn wanted() -> impl Strategy<Value = Content> {
    collection::vec(record(), 0..8).prop_map(|records| {
        let latest: BTreeMap<_, _> = records.into_iter().map(|r| (r.key(), r)).collect();
        Content::of(latest.values())
    })
}

/// Anything that could be found in a store.
fn held() -> impl Strategy<Value = Content> {
    let service = (sample::select(vec!["a", "b", "c"]), sample::select(NAMES.to_vec()))
        .prop_map(|(namespace, name)| format!("{namespace}/{name}"));
    let set = sample::select(vec![
        "services",
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
        collection::btree_map(service.clone(), there, 0..8),
        collection::btree_map(set.prop_map(str::to_owned), collection::btree_set(service, 1..4), 0..5),
    )
        .prop_map(|(services, sets)| Content { services, sets });
    prop_oneof![3 => other, 1 => wanted()]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(1024), ..ProptestConfig::default() })]

    #[test]
    fn what_is_ours_becomes_what_is_wanted_and_what_is_foreign_stays(held in held(), wanted in wanted()) {
        let after = apply(&held, &plan(&held, &wanted));
        let foreign = |content: &Content| -> BTreeSet<String> {
            content.services.iter().filter(|(_, h)| **h == Held::Foreign).map(|(s, _)| s.clone()).collect()
        };
        prop_assert_eq!(foreign(&after), foreign(&held));
        let ours = |content: &Content| -> BTreeMap<String, Held> {
            let not_barred = |s: &String| held.services.get(s) != Some(&Held::Foreign);
            content.services.iter().filter(|(s, _)| not_barred(s)).map(|(s, h)| (s.clone(), h.clone())).collect()
        };
        prop_assert_eq!(ours(&after), ours(&wanted));
        let expected = Content { services: ours(&wanted), sets: BTreeMap::new() }.with_presumed_sets();
        prop_assert_eq!(&after.sets, &expected.sets);
        prop_assert_eq!(plan(&after, &wanted), Vec::new(), "done once is done");
    }

    #[test]
    fn one_service_can_be_set_right_by_itself_where_the_sets_follow_from_the_hashes(before in wanted(), after in wanted()) {
        let mut store = before.clone();
        let services: BTreeSet<String> = before.services.keys().chain(after.services.keys()).cloned().collect();
        for service in services {
            let one = |content: &Content| {
                let services = content.services.iter().filter(|(s, _)| **s == service);
                let services = services.map(|(s, h)| (s.clone(), h.clone())).collect();
                Content { services, sets: BTreeMap::new() }.with_presumed_sets()
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
        sets_of(&fields("DICOM,FHIR")),
        ["namespace:radiology", "protocol:DICOM", "protocol:FHIR", "services"].map(str::to_owned).into()
    );
    assert_eq!(key_of("radiology/pacs").unwrap().name, "pacs");
    assert_eq!(key_of("radiology"), None);
}
