//! Who can do this now? The answers to queries, and to questions that no object asks.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Path, Query, State},
    http::HeaderMap,
};
use serde_json::{Value, json};
use tokio::{sync::Semaphore, time::timeout};

use super::{
    access::Refusal,
    registry::{Parameters, Registry, pairs},
};
use crate::{
    cluster::{observe::Caches, review::Deed},
    core::{
        discovery::{
            guard::AddressGuard,
            query::{answer::answer, view::ServiceFacts},
        },
        name::Key,
        registry::{
            Item, Kind, Problem, Reply, Told,
            ask::{Answers, Question},
            filter::MOST,
        },
    },
};

/// Questions that are worked out at a time: each may take a tenth of a second of processor.
const AT_ONCE: usize = 1;
/// How long a question waits for its turn.
const WAIT: Duration = Duration::from_secs(2);

/// Works out questions, one after the other and beside the operator's own work.
#[derive(Debug)]
pub(super) struct Desk {
    guard: Arc<AddressGuard>,
    turns: Arc<Semaphore>,
}

impl Desk {
    pub(super) fn new(guard: Arc<AddressGuard>) -> Self {
        Self { guard, turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    async fn ask(&self, caches: Caches, question: Question) -> Result<Reply, Problem> {
        let turn = timeout(WAIT, Arc::clone(&self.turns).acquire_owned()).await;
        let busy = || Problem::unavailable("others ask questions that are costly to answer");
        let turn = turn.ok().and_then(Result::ok).ok_or_else(busy)?;
        let guard = Arc::clone(&self.guard);
        // an expression may take its time: nothing else of this thread's waits for it
        let work = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work_out(&caches, &guard, &question)
        });
        work.await.map_err(|_| Problem::unavailable("the question could not be worked out"))
    }
}

fn work_out(caches: &Caches, guard: &AddressGuard, question: &Question) -> Reply {
    let services = caches.services.in_namespace(&question.namespace);
    let facts: Vec<ServiceFacts<'_>> = services.iter().map(|s| caches.facts(&question.spec, s, guard)).collect();
    let found = answer(&question.spec, question.condition.as_ref(), &facts, &[]);
    Reply::to_nobody(&question.namespace, &found, !question.spec.tiers.is_empty())
}

/// Of all queries that are asked for, the answers.
pub(super) async fn list(
    State(registry): State<Registry>,
    headers: HeaderMap,
    Query(parameters): Parameters,
) -> Result<Json<Value>, Refusal> {
    let asked = Answers::parse(pairs(&parameters), true)?;
    let deed = Deed::Objects { kind: Kind::Query, verb: "list", namespace: asked.namespace.clone(), name: None };
    registry.admit(&headers, &deed).await?;
    let limit = asked.limit.unwrap_or(MOST);
    let items = registry.caches.items(Kind::Query).into_iter().filter(|item| asked.covers(&item.key));
    let mut found: Vec<Told> = items.filter_map(|item| registry.caches.told(&item)).take(limit + 1).collect();
    let more = found.len() > limit;
    found.truncate(limit);
    let mut page = json!({"queries": found});
    if let Some(last) = found.last().filter(|_| more) {
        page["after"] = json!(last.item().key.to_string());
    }
    Ok(Json(page))
}

/// The answer to one query.
pub(super) async fn one(
    State(registry): State<Registry>,
    headers: HeaderMap,
    Path((namespace, name)): Path<(String, String)>,
) -> Result<Json<Told>, Refusal> {
    let item = Item::query(Key::new(namespace.clone(), name.clone()));
    let deed = Deed::Objects { kind: Kind::Query, verb: "get", namespace: Some(namespace), name: Some(name) };
    registry.admit(&headers, &deed).await?;
    Ok(Json(registry.caches.told(&item).ok_or_else(|| Problem::not_found("ServiceQuery of this name"))?))
}

/// The answer to a question that is asked here alone: whoever may list services could find it out by themselves.
pub(super) async fn ask(
    State(registry): State<Registry>,
    headers: HeaderMap,
    Query(parameters): Parameters,
) -> Result<Json<Reply>, Refusal> {
    let question = Question::parse(pairs(&parameters))?;
    let namespace = Some(question.namespace.clone());
    registry.admit(&headers, &Deed::Objects { kind: Kind::Service, verb: "list", namespace, name: None }).await?;
    Ok(Json(registry.desk.ask(registry.caches.clone(), question).await?))
}
