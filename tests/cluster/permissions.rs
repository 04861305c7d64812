//! The chart's rules against the requests of all scenarios: none was refused, and none of the rules is idle.

use std::collections::BTreeSet;

use crate::support::{
    requests::{Asked, asked},
    stage::{REPLICAS, Stage},
};

/// Group, resource, verb.
type Permission = (String, String, String);

/// No request was refused for want of a permission; every permission of the chart was used.
pub(crate) async fn are_those_that_were_used(stage: &Stage) {
    let users: Vec<String> = REPLICAS.into_iter().map(|r| stage.user_of(r)).collect();
    let requests: Vec<Asked> = asked(stage).await.into_iter().filter(|a| users.contains(&a.user)).collect();
    let refused: BTreeSet<Permission> =
        requests.iter().filter(|a| a.code == 403).map(|a| permission(a, &a.verb)).collect();
    let mut used: BTreeSet<Permission> = requests.iter().map(|a| permission(a, &a.verb)).collect();
    // applying an object that is not there needs the permission to make it
    let made = requests.iter().filter(|a| a.verb == "patch" && a.code == 201);
    used.extend(made.map(|a| permission(a, "create")));
    let granted = granted(stage);
    let idle: Vec<_> = granted.difference(&used).collect();
    let missing: Vec<_> = used.difference(&granted).collect();
    assert!(
        refused.is_empty() && idle.is_empty() && missing.is_empty(),
        "charts/medley/templates/_rules.tpl\nrefused: {refused:#?}\ngranted and never used: {idle:#?}\nasked for and not granted: {missing:#?}"
    );
    println!("          {} permissions, all used; {} requests, none refused", granted.len(), requests.len());
}

fn permission(request: &Asked, verb: &str) -> Permission {
    (request.group.clone(), request.resource.clone(), verb.to_owned())
}

/// What the roles give, as the API server has them.
fn granted(stage: &Stage) -> BTreeSet<Permission> {
    let name = format!("{}-{}", stage.home(), REPLICAS[0]);
    let (work, lease) = (format!("clusterrole/{name}"), format!("role/{name}-lease"));
    let pools = format!("clusterrole/{}-{name}-pools", stage.home());
    let mut granted = BTreeSet::new();
    for role in [work, lease, pools] {
        let text = stage.kubectl(&["get", "-n", stage.home(), &role, "-o", "json"]);
        let role: serde_json::Value = serde_json::from_str(&text).unwrap();
        for rule in role["rules"].as_array().unwrap() {
            for (group, resource, verb) in combinations(&rule["apiGroups"], &rule["resources"], &rule["verbs"]) {
                granted.insert((group, resource, verb));
            }
        }
    }
    granted
}

/// Every combination.
fn combinations(
    groups: &serde_json::Value,
    resources: &serde_json::Value,
    verbs: &serde_json::Value,
) -> Vec<Permission> {
    let texts = |v: &serde_json::Value| -> Vec<String> {
        v.as_array().unwrap().iter().map(|t| t.as_str().unwrap().to_owned()).collect()
    };
    let mut all = Vec::new();
    for group in texts(groups) {
        for resource in texts(resources) {
            all.extend(texts(verbs).into_iter().map(|verb| (group.clone(), resource.clone(), verb)));
        }
    }
    all
}
