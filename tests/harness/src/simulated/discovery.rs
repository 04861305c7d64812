//! What does the server say about itself? Versions, groups and resources.

use super::store::State;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The answer to a discovery path; `None` if there is no such page.
pub(super) fn answer(state: &State, path: &str) -> Option<Value> {
    let parts: Vec<&str> = path.split('/').filter(|p| !p.is_empty()).collect();
    match parts.as_slice() {
        ["livez" | "readyz" | "healthz"] => Some(json!("ok")),
        ["version"] => Some(json!({
            "major": "1", "minor": "36", "gitVersion": "v1.36.0-simulated", "gitCommit": "", "gitTreeState": "clean",
            "buildDate": "1970-01-01T00:00:00Z", "goVersion": "", "compiler": "", "platform": "",
        })),
        ["api"] => Some(json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})),
        ["api", version] => resources(state, "", version),
        ["apis"] => Some(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups(state)})),
        ["apis", group] => groups(state).into_iter().find(|g| g["name"] == *group).map(|mut g| {
            g["kind"] = "APIGroup".into();
            g["apiVersion"] = "v1".into();
            g
        }),
        ["apis", group, version] => resources(state, group, version),
        _ => None,
    }
}

fn groups(state: &State) -> Vec<Value> {
    let mut versions: BTreeMap<&str, &str> = BTreeMap::new();
    for table in state.tables.iter().filter(|t| !t.gone && !t.info.group.is_empty()) {
        versions.insert(&table.info.group, &table.info.version);
    }
    let entry = |(group, version): (&str, &str)| {
        let version = json!({"groupVersion": format!("{group}/{version}"), "version": version});
        json!({"name": group, "versions": [version], "preferredVersion": version})
    };
    versions.into_iter().map(entry).collect()
}

fn resources(state: &State, group: &str, version: &str) -> Option<Value> {
    let verbs = json!(["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]);
    let mut found = Vec::new();
    for table in state.tables.iter().filter(|t| !t.gone && t.info.group == group && t.info.version == version) {
        let info = &table.info;
        let entry = |name: String, verbs: Value| json!({"name": name, "singularName": info.kind.to_lowercase(), "namespaced": info.namespaced, "kind": info.kind, "verbs": verbs});
        found.push(entry(info.plural.clone(), verbs.clone()));
        if info.has_status {
            found.push(entry(format!("{}/status", info.plural), json!(["get", "patch", "update"])));
        }
    }
    if found.is_empty() {
        return None;
    }
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    Some(json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": found}))
}
