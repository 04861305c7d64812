//! Who can do this now? The answers to queries, and to questions that no object asks.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Json,
    extract::{Path, Query, State},
    http::HeaderMap,
};
use serde_json::{Value, json};
use tokio::{sync::Semaphore, time::timeout};

use super::{
    access::{Refusal, allowed, token},
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
/// Questions of one user that wait or are worked out: so many cost others less than they wait.
const OF_ONE: usize = 4;
/// How long a question waits for its turn.
const WAIT: Duration = Duration::from_secs(2);

/// Works out questions, one after the other and beside the operator's own work.
#[derive(Debug)]
pub(super) struct Desk {
    guard: Arc<AddressGuard>,
    turns: Arc<Semaphore>,
    /// How many questions each user asks, by the hash of the user.
    asking: Mutex<HashMap<String, usize>>,
}

/// The place of a question in the line.
struct Place<'d> {
    desk: &'d Desk,
    user: String,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut asking = self.desk.asking.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = asking.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                asking.remove(&self.user);
            }
        }
    }
}

impl Desk {
    pub(super) fn new(guard: Arc<AddressGuard>) -> Self {
        Self { guard, turns: Arc::new(Semaphore::new(AT_ONCE)), asking: Mutex::default() }
    }

    /// A place in the line, unless the user has as many as one may have.
    fn place(&self, user: &str) -> Option<Place<'_>> {
        let mut asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        let count = asking.entry(user.to_owned()).or_default();
        if *count >= OF_ONE {
            return None;
        }
        *count += 1;
        Some(Place { desk: self, user: user.to_owned() })
    }

    async fn ask(&self, user: &str, caches: Caches, question: Question) -> Result<Reply, Problem> {
        let _place = self.place(user).ok_or_else(Problem::too_many_questions)?;
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
    let found = answer(&question.spec, question.condition.as_ref(), &facts, &[], &[]);
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
    let deed = Deed::Objects { kind: Kind::Service, verb: "list", namespace, name: None };
    let user = allowed(&registry.reviews, token(&headers), &deed).await?;
    registry.known()?;
    Ok(Json(registry.desk.ask(user.digest(), registry.caches.clone(), question).await?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question() -> Question {
        Question::parse([("namespace", "a"), ("protocol", "FHIR")]).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn one_user_leaves_turns_for_others_and_who_waits_in_vain_is_told_to_come_back() {
        let desk = Desk::new(Arc::default());
        // what is worked out now does not end
        let turn = Arc::clone(&desk.turns).acquire_owned().await.unwrap();
        let ask = |user: &'static str| desk.ask(user, Caches::default(), question());
        let (a, b) = tokio::join!(async { tokio::join!(ask("a"), ask("a"), ask("a"), ask("a"), ask("a")) }, async {
            ask("b").await
        },);
        let statuses = [a.0, a.1, a.2, a.3, a.4, b].map(|answer| answer.unwrap_err().status);
        assert_eq!(statuses, [503, 503, 503, 503, 429, 503]);
        assert!(desk.asking.lock().unwrap().is_empty(), "places come back");
        drop(turn);
        assert_eq!(ask("a").await.unwrap().empty.as_deref(), Some("NoMatch"));
    }
}
