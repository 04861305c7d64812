//! Who is it, and may they? Kubernetes answers both: `TokenReview` for the token, `SubjectAccessReview` for the right.
//!
//! Answers are kept for ten seconds, also those that say no, and under a hash: no token is kept. A right that is withdrawn ends within that
//! time.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use k8s_openapi::api::{
    authentication::v1::{TokenReview, TokenReviewSpec},
    authorization::v1::{NonResourceAttributes, ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec},
};
use kube::{Api, Client, Resource, api::PostParams};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};

use crate::{
    cluster::perform::CALL_TIMEOUT,
    core::{name::digest, registry},
    telemetry::{ApiCall, Kind, Metrics},
};

/// Tokens must be for this audience: whoever gets hold of one can read the registry with it, and nothing of the cluster.
pub const AUDIENCE: &str = "medley.health";
/// How long an answer is good for.
const KEPT: Duration = Duration::from_secs(10);
/// Most answers that are kept.
const MOST: usize = 1000;
/// Questions that are asked at a time.
const AT_ONCE: usize = 8;
/// Longest token that is asked about; those of Kubernetes have about 1 KiB.
const LONGEST: usize = 16 << 10;

/// A user, as Kubernetes knows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    name: String,
    uid: Option<String>,
    groups: Vec<String>,
    extra: BTreeMap<String, Vec<String>>,
    /// Hash of all of it.
    digest: String,
}

impl User {
    /// Hash of all that is known of them.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }
}

/// What somebody wants to do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Deed {
    /// With what the registry tells of: a verb, the namespace (all when `None`), the name (all when `None`).
    Objects {
        /// Of this kind.
        kind: registry::Kind,
        /// `get`, `list` or `watch`.
        verb: &'static str,
        /// Of this namespace.
        namespace: Option<String>,
        /// Of this name.
        name: Option<String>,
    },
    /// To read this path.
    Path(&'static str),
}

/// Why there is no answer: the API server gave none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unavailable;

#[derive(Clone, Debug)]
enum Answer {
    User(Option<Arc<User>>),
    May(bool),
}

/// Asks Kubernetes.
pub struct Reviews {
    client: Client,
    metrics: Metrics,
    answers: Mutex<HashMap<String, (Instant, Answer)>>,
    slots: Semaphore,
}

impl Reviews {
    /// Asks through this client.
    #[must_use]
    pub fn new(client: Client, metrics: Metrics) -> Self {
        Self { client, metrics, answers: Mutex::default(), slots: Semaphore::new(AT_ONCE) }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, (Instant, Answer)>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self, key: &str) -> Option<Answer> {
        self.lock().get(key).filter(|(at, _)| at.elapsed() < KEPT).map(|(_, answer)| answer.clone())
    }

    fn keep(&self, key: String, answer: Answer) {
        let mut answers = self.lock();
        if answers.len() >= MOST {
            answers.retain(|_, (at, _)| at.elapsed() < KEPT);
        }
        if answers.len() >= MOST {
            // somebody asks with ever new tokens: then nothing is worth keeping
            answers.clear();
        }
        answers.insert(key, (Instant::now(), answer));
    }

    /// Whose token it is; `None` for nobody's.
    ///
    /// # Errors
    /// When the API server gives no answer.
    pub async fn user(&self, token: &str) -> Result<Option<Arc<User>>, Unavailable> {
        if token.is_empty() || token.len() > LONGEST {
            return Ok(None);
        }
        let key = digest([b"token".as_slice(), token.as_bytes()]);
        if let Some(Answer::User(user)) = self.known(&key) {
            return Ok(user);
        }
        let spec = TokenReviewSpec { token: token.to_owned(), audiences: Some(vec![AUDIENCE.to_owned()]) };
        let review = TokenReview { spec, ..TokenReview::default() };
        let status = self.ask(&review).await?.status.unwrap_or_default();
        let ours = status.audiences.iter().flatten().any(|a| a == AUDIENCE);
        let user = status.user.filter(|_| ours && status.authenticated == Some(true)).map(|user| {
            let (name, groups) = (user.username.unwrap_or_default(), user.groups.unwrap_or_default());
            let extra = user.extra.unwrap_or_default();
            // in JSON, so that no group can be read as a part of `extra`: rights are kept by this
            let digest = digest([json!([name, user.uid, groups, extra]).to_string().as_bytes()]);
            Arc::new(User { name, uid: user.uid, groups, extra, digest })
        });
        self.keep(key, Answer::User(user.clone()));
        Ok(user)
    }

    /// Whether a user may do it.
    ///
    /// # Errors
    /// When the API server gives no answer.
    pub async fn may(&self, user: &User, deed: &Deed) -> Result<bool, Unavailable> {
        let words: Vec<&str> = match deed {
            Deed::Objects { kind, verb, namespace, name } => {
                let (namespace, name) = (namespace.as_deref().unwrap_or_default(), name.as_deref().unwrap_or_default());
                vec!["may", verb, kind.resource(), namespace, name]
            }
            Deed::Path(path) => vec!["read", path],
        };
        let key = digest(words.iter().map(|w| w.as_bytes()).chain([user.digest.as_bytes()]));
        if let Some(Answer::May(may)) = self.known(&key) {
            return Ok(may);
        }
        let mut spec = SubjectAccessReviewSpec {
            user: Some(user.name.clone()),
            uid: user.uid.clone(),
            groups: Some(user.groups.clone()),
            extra: Some(user.extra.clone()),
            ..SubjectAccessReviewSpec::default()
        };
        match deed.clone() {
            Deed::Objects { kind, verb, namespace, name } => {
                spec.resource_attributes = Some(ResourceAttributes {
                    group: Some("medley.health".to_owned()),
                    resource: Some(kind.resource().to_owned()),
                    verb: Some(verb.to_owned()),
                    namespace,
                    name,
                    ..ResourceAttributes::default()
                });
            }
            Deed::Path(path) => {
                spec.non_resource_attributes =
                    Some(NonResourceAttributes { path: Some(path.to_owned()), verb: Some("get".to_owned()) });
            }
        }
        let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
        let status = self.ask(&review).await?.status.unwrap_or_default();
        let may = status.allowed && status.denied != Some(true);
        self.keep(key, Answer::May(may));
        Ok(may)
    }

    async fn ask<K>(&self, review: &K) -> Result<K, Unavailable>
    where
        K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + Serialize + DeserializeOwned,
        K: Resource<Scope = k8s_openapi::ClusterResourceScope>,
    {
        let kind = K::kind(&()).into_owned();
        let begun = Instant::now();
        let asked = timeout(CALL_TIMEOUT, async {
            // it is never closed: without a permit more would be asked at a time
            let _slot = self.slots.acquire().await.ok();
            Api::<K>::all(self.client.clone()).create(&PostParams::default(), review).await
        });
        let answer = asked.await;
        let outcome = match &answer {
            Ok(Ok(_)) => "ok",
            Ok(Err(_)) => "refused",
            Err(_) => "timeout",
        };
        self.metrics.api_calls.get_or_create(&ApiCall { verb: "create", kind: kind.clone(), outcome }).inc();
        self.metrics.api_seconds.get_or_create(&Kind { kind: kind.clone() }).observe(begun.elapsed().as_secs_f64());
        match answer {
            Ok(Ok(review)) => Ok(review),
            Ok(Err(kube::Error::Api(status))) => {
                tracing::warn!(
                    kind,
                    code = status.code,
                    "the API server refuses to review a request to the registry: may the operator create it?"
                );
                Err(Unavailable)
            }
            _ => Err(Unavailable),
        }
    }
}
