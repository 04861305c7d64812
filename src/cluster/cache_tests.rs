//! Tests of [`super`].

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::json;

use super::*;

fn object(name: &str, uid: &str, version: u64) -> ConfigMap {
    serde_json::from_value(
        json!({"metadata": {"namespace": "n", "name": name, "uid": uid, "resourceVersion": version.to_string()}}),
    )
    .unwrap()
}

fn held(cache: &Cache<ConfigMap>, name: &str) -> Option<u64> {
    cache.get(&Key::new("n", name)).map(|o| version(o.as_ref()))
}

#[test]
fn a_late_event_does_not_bring_back_an_older_version() {
    let cache = Cache::<ConfigMap>::default();
    cache.applied(object("a", "1", 10));
    cache.wrote(object("a", "1", 20));
    assert!(cache.applied(object("a", "1", 15)).is_none());
    assert_eq!(held(&cache, "a"), Some(20));
}

#[test]
fn a_write_after_its_own_deletion_event_does_not_revive_the_object() {
    let cache = Cache::<ConfigMap>::default();
    cache.applied(object("a", "1", 10));
    cache.deleted(&object("a", "1", 30));
    assert!(!cache.wrote(object("a", "1", 20)), "it has gone since");
    assert_eq!(held(&cache, "a"), None);
}

#[test]
fn a_deletion_that_comes_late_leaves_the_object_that_was_made_since() {
    let cache = Cache::default();
    cache.applied(object("a", "u1", 5));
    assert!(cache.wrote(object("a", "u2", 9)));
    assert!(cache.deleted(&object("a", "u1", 8)).is_none());
    assert_eq!(held(&cache, "a"), Some(9));
    assert!(cache.deleted(&object("a", "u2", 10)).is_some());
    assert_eq!(held(&cache, "a"), None);
}

#[test]
fn a_relist_keeps_newer_own_writes_and_asks_about_them() {
    let cache = Cache::<ConfigMap>::default();
    cache.list_begins(&None);
    cache.list_ends(&None);
    cache.wrote(object("mine", "1", 105));
    cache.list_begins(&None);
    cache.listed(&None, object("other", "2", 90));
    assert_eq!(cache.list_ends(&None), [Key::new("n", "mine")]);
    assert_eq!(held(&cache, "mine"), Some(105));
    cache.gone(&Key::new("n", "mine"));
    assert_eq!(held(&cache, "mine"), None);
}

#[test]
fn a_relist_drops_what_is_gone_and_never_goes_back_in_time() {
    let cache = Cache::<ConfigMap>::default();
    cache.applied(object("a", "1", 10));
    cache.applied(object("b", "2", 11));
    cache.wrote(object("b", "2", 20));
    cache.list_begins(&None);
    cache.listed(&None, object("b", "2", 11));
    cache.list_ends(&None);
    assert_eq!((held(&cache, "a"), held(&cache, "b")), (None, Some(20)));
}

#[test]
fn an_own_write_is_told_once_and_a_later_one_of_somebody_else_is_news() {
    let cache = Cache::<ConfigMap>::default();
    cache.wrote(object("a", "1", 20));
    assert!(cache.applied(object("a", "1", 20)).is_none());
    assert!(cache.applied(object("a", "1", 21)).is_some());
}

#[test]
fn groups_hold_what_is_there() {
    let cache: Cache<ConfigMap> = Cache::grouped(|c: &Arc<ConfigMap>| c.metadata.uid.clone());
    let names = |group: &str| cache.in_group("n", group).iter().map(|(key, _)| key.name.clone()).collect::<Vec<_>>();
    cache.applied(object("b", "1", 10));
    cache.wrote(object("a", "1", 11));
    cache.applied(object("c", "2", 12));
    assert_eq!((names("1"), names("2")), (vec!["a".to_owned(), "b".to_owned()], vec!["c".to_owned()]));
    cache.applied(object("b", "2", 13));
    assert_eq!((names("1"), names("2")), (vec!["a".to_owned()], vec!["b".to_owned(), "c".to_owned()]));
    cache.list_begins(&None);
    cache.listed(&None, object("b", "2", 13));
    cache.listed(&None, object("d", "1", 20));
    cache.list_ends(&None);
    // `a` was written by us, and no event has said yet what became of it
    assert_eq!((names("1"), names("2")), (vec!["a".to_owned(), "d".to_owned()], vec!["b".to_owned()]));
    cache.deleted(&object("d", "1", 21));
    cache.gone(&Key::new("n", "a"));
    cache.gone(&Key::new("n", "b"));
    assert_eq!((names("1"), names("2")), (Vec::<String>::new(), Vec::new()));
}

#[test]
fn a_namespace_is_read_by_itself() {
    let cache = Cache::<ConfigMap>::default();
    cache.applied(object("a", "1", 1));
    assert_eq!(cache.in_namespace("n").len(), 1);
    assert!(cache.in_namespace("m").is_empty());
    assert!(cache.in_namespace("nn").is_empty());
}

#[test]
fn what_is_written_while_a_list_is_under_way_outlives_its_end() {
    let cache = Cache::<ConfigMap>::default();
    cache.applied(object("a", "1", 10));
    cache.list_begins(&None);
    cache.listed(&None, object("a", "1", 10));
    cache.wrote(object("a", "1", 20));
    cache.listed(&None, object("b", "2", 30));
    cache.list_ends(&None);
    assert_eq!((held(&cache, "a"), held(&cache, "b")), (Some(20), Some(30)));
}
