//! Does the API server itself hold what the kinds promise? Each line of the tables in `schema/` is one good or bad object,
//! or one change of a stored one; field and words of every cause must be as the table says.
//!
//! Needs a real API server of the current `KUBECONFIG`; works in namespaces of its own.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

#[path = "schema/server.rs"]
mod server;
#[path = "schema/table.rs"]
mod table;

use serde_json::Value;
use server::{Answer, Server};
use table::{Case, Cause, Table, Then, Write, changed};

#[tokio::test]
#[ignore = "needs a real control plane: make test-cluster"]
async fn medical_services() {
    holds("medicalservices", include_str!("schema/medicalservices.yaml")).await;
}

#[tokio::test]
#[ignore = "needs a real control plane: make test-cluster"]
async fn workflows() {
    holds("workflows", include_str!("schema/workflows.yaml")).await;
}

#[tokio::test]
#[ignore = "needs a real control plane: make test-cluster"]
async fn workflow_runs() {
    holds("workflowruns", include_str!("schema/workflowruns.yaml")).await;
}

#[tokio::test]
#[ignore = "needs a real control plane: make test-cluster"]
async fn capacity_pools() {
    holds("capacitypools", include_str!("schema/capacitypools.yaml")).await;
}

#[tokio::test]
#[ignore = "needs a real control plane: make test-cluster"]
async fn service_policies() {
    holds("servicepolicies", include_str!("schema/servicepolicies.yaml")).await;
}

#[tokio::test]
#[ignore = "needs a real control plane: make test-cluster"]
async fn service_queries() {
    holds("servicequeries", include_str!("schema/servicequeries.yaml")).await;
}

async fn holds(plural: &str, text: &str) {
    let table: Table = serde_saphyr::from_str(text).unwrap();
    let server = Server::connect(plural).await;
    let mut wrong = Vec::new();
    for (number, case) in table.cases.iter().enumerate() {
        let answer = attempt(&server, &table, case, number).await;
        if let Err(difference) = compare(case, &answer) {
            wrong.push(difference);
        }
    }
    server.leave().await;
    assert!(wrong.is_empty(), "{} of {} cases of {plural}:\n{}", wrong.len(), table.cases.len(), wrong.join("\n"));
}

/// What the server says to a case.
async fn attempt(server: &Server, table: &Table, case: &Case, number: usize) -> Answer {
    let object = table.object(case, server.kind(), &format!("case{number}"));
    let Some(then) = &case.then else {
        return server.create(&object, true).await;
    };
    let made = server.create(&object, false).await;
    assert!(made.causes.is_empty(), "{}: the object was not made: {made:?}", case.case);
    let mut stored = made.object;
    if let Some(name) = &case.status {
        stored["status"] = table.statuses[name].clone();
        let answer = server.replace(&stored, Write::Status).await;
        assert!(answer.causes.is_empty(), "{}: the status was not stored: {answer:?}", case.case);
        stored = answer.object;
    }
    let answer = server.replace(&changed(stored.clone(), &then.set, &then.drop), then.write).await;
    if case.refused.is_empty() && answer.causes.is_empty() {
        assert_takes_effect(case, then, &stored, &answer.object);
    }
    answer
}

/// A write that is accepted and ignored would hide a rule that is never asked.
fn assert_takes_effect(case: &Case, then: &Then, before: &Value, after: &Value) {
    let part = |o: &Value| (o["spec"].clone(), o["status"].clone(), o["metadata"]["labels"].clone());
    let moves = !then.set.is_empty() || !then.drop.is_empty();
    assert_eq!(part(before) != part(after), moves, "{}: the change was accepted without effect", case.case);
}

fn compare(case: &Case, answer: &Answer) -> Result<(), String> {
    let mut left = answer.causes.clone();
    let mut missing = Vec::new();
    for Cause(field, words) in &case.refused {
        match left.iter().position(|Cause(f, message)| f == field && message.contains(words.as_str())) {
            Some(i) => drop(left.remove(i)),
            None => missing.push(format!("{field}: {words}")),
        }
    }
    if missing.is_empty() && left.is_empty() && answer.warnings.is_empty() {
        return Ok(());
    }
    let got = serde_json::to_string(&answer.causes).unwrap();
    Err(format!("- {}\n  missing: {missing:?}\n  warnings: {:?}\n  got: {got}", case.case, answer.warnings))
}
