//! Who may write: one process at a time holds a Lease, and its number of transitions is the epoch that fences the others.
//!
//! Source of the protocol: client-go `tools/leaderelection` — the holder renews; others take over when they have not seen
//! a renewal for the lease's duration by their own monotonic clock, so that clocks of different machines never matter.
//! medley adds the epoch, and stops writing at the renew deadline, before the lease can end.
//!
//! A holder renews by one update of the version that it wrote last; only after a conflict it reads first. Epochs grow even
//! where the Lease forgets them, because somebody has deleted it or has restored runs into a new cluster: a status that holds a
//! higher one makes the holder begin a term above it.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{Api, Client, api::PostParams};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{cluster::clock::Clock, telemetry::Metrics};

/// How the lease is held.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Name of the Lease.
    pub name: String,
    /// Who this process is: differs for every start of every replica, so that a restart is a new term.
    pub identity: String,
    /// How long a holder that is silent keeps the lease.
    pub duration: Duration,
    /// How long after its last renewal a holder goes on writing.
    pub renew_deadline: Duration,
    /// Time between two tries.
    pub retry_period: Duration,
}

/// One term of leadership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    /// Lease transitions: grows with each change of holder.
    pub epoch: i64,
    /// Nothing may be written after this.
    pub until: Instant,
}

/// What this process knows of its own leadership.
#[derive(Clone, Debug)]
pub struct Leadership {
    term: watch::Receiver<Option<Term>>,
    /// The highest epoch that is known to have been used in another term.
    spent: Arc<AtomicI64>,
    /// UID of the Lease that was held last.
    lease: Arc<Mutex<String>>,
}

impl Leadership {
    /// A term without end.
    #[cfg(test)]
    #[must_use]
    pub fn forever() -> Self {
        let until = Instant::now() + Duration::from_secs(1 << 30);
        let (_, term) = watch::channel(Some(Term { epoch: 1, until }));
        Self { term, spent: Arc::default(), lease: Arc::default() }
    }

    /// The present term, while a write that begins now may still end in it.
    #[must_use]
    pub fn term(&self) -> Option<Term> {
        (*self.term.borrow()).filter(|t| Instant::now() < t.until)
    }

    /// Tells of an epoch that another term has used: should this process hold the lease under it or a lower one, it begins a new
    /// term above it. Who holds the lease no more has found the mark of its successor.
    pub fn spent(&self, epoch: i64) {
        self.spent.fetch_max(epoch, Ordering::Relaxed);
    }

    /// UID of the Lease that was held last: another one where somebody has deleted it since, or in another cluster.
    #[must_use]
    pub fn lease(&self) -> String {
        self.lease.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until this process leads.
    pub async fn won(&mut self) -> Option<Term> {
        // a term whose time has passed and that nobody has ended yet is none
        self.term.wait_for(|term| term.is_some_and(|t| Instant::now() < t.until)).await.ok().and_then(|t| *t)
    }

    /// Waits until the term of this epoch is over, by a loss or by its time.
    pub async fn lost(&mut self, epoch: i64) {
        loop {
            let until = match *self.term.borrow_and_update() {
                Some(t) if t.epoch == epoch && Instant::now() < t.until => t.until,
                _ => return,
            };
            tokio::select! {
                changed = self.term.changed() => if changed.is_err() { return },
                () = tokio::time::sleep_until(until) => {}
            }
        }
    }
}

/// What was last seen of the lease, and when by the own clock.
#[derive(Clone, Debug)]
struct Seen {
    version: Option<String>,
    at: Instant,
    /// The lease as this process wrote it, while nothing says that somebody else has written it since.
    own: Option<Lease>,
}

/// Tries to hold the lease until stopped; then gives it back.
pub struct Election {
    settings: Settings,
    api: Api<Lease>,
    sender: watch::Sender<Option<Term>>,
    spent: Arc<AtomicI64>,
    lease: Arc<Mutex<String>>,
    clock: Clock,
    metrics: Metrics,
}

impl Election {
    /// An election that has not begun, and what it will tell.
    #[must_use]
    pub fn new(client: Client, settings: Settings, clock: Clock, metrics: Metrics) -> (Arc<Self>, Leadership) {
        let (sender, receiver) = watch::channel(None);
        let api = Api::namespaced(client, &settings.namespace);
        let spent = Arc::new(AtomicI64::new(0));
        let lease = Arc::<Mutex<String>>::default();
        let leadership = Leadership { term: receiver, spent: Arc::clone(&spent), lease: Arc::clone(&lease) };
        (Arc::new(Self { settings, api, sender, spent, lease, clock, metrics }), leadership)
    }

    /// Runs until stopped, then releases the lease.
    pub async fn run(&self, stop: CancellationToken) {
        let mut seen = Seen { version: None, at: Instant::now(), own: None };
        loop {
            let begun = Instant::now();
            match tokio::time::timeout(self.call_timeout(), self.attempt(&mut seen)).await {
                Ok(Ok(Some(epoch))) => {
                    let until = begun + self.settings.renew_deadline;
                    if self.sender.send_replace(Some(Term { epoch, until })).is_none() {
                        tracing::info!(epoch, identity = self.settings.identity, "this process leads");
                    }
                    self.metrics.leader.set(1);
                }
                Ok(Ok(None)) => self.step_down("another process holds the lease"),
                Ok(Err(error)) => self.doubt(&error.to_string()),
                Err(_) => self.doubt("no answer in time"),
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(self.settings.retry_period) => {}
            }
        }
        self.release().await;
    }

    fn call_timeout(&self) -> Duration {
        self.settings.retry_period.max(Duration::from_millis(500))
    }

    /// A renewal that failed changes nothing until the renew deadline.
    fn doubt(&self, problem: &str) {
        tracing::warn!(problem, "the lease could not be read or renewed");
        if self.sender.borrow().is_some_and(|t| Instant::now() >= t.until) {
            self.step_down("the renew deadline has passed");
        }
    }

    fn step_down(&self, why: &str) {
        if self.sender.send_replace(None).is_some() {
            tracing::warn!(why, "this process no longer leads");
        }
        self.metrics.leader.set(0);
    }

    /// One try: the epoch when the lease is held afterwards.
    async fn attempt(&self, seen: &mut Seen) -> kube::Result<Option<i64>> {
        if let Some(lease) = seen.own.take() {
            match self.hold(lease, seen).await {
                // somebody has written or deleted it: what is there decides
                Err(kube::Error::Api(s)) if s.is_conflict() || s.is_not_found() => {}
                other => return other.map(Some),
            }
        }
        let Some(lease) = self.api.get_opt(&self.settings.name).await? else {
            let name = Some(self.settings.name.clone());
            let fresh = Lease { metadata: ObjectMeta { name, ..ObjectMeta::default() }, spec: None };
            return match self.hold(fresh, seen).await {
                Ok(epoch) => Ok(Some(epoch)),
                Err(kube::Error::Api(s)) if s.is_already_exists() => Ok(None),
                Err(e) => Err(e),
            };
        };
        if seen.version != lease.metadata.resource_version {
            *seen = Seen { version: lease.metadata.resource_version.clone(), at: Instant::now(), own: None };
        }
        let spec = lease.spec.as_ref();
        let holder = spec.and_then(|s| s.holder_identity.as_deref()).filter(|h| !h.is_empty());
        let own = holder == Some(self.settings.identity.as_str());
        let seconds = spec.and_then(|s| s.lease_duration_seconds).unwrap_or(0);
        let held_for = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        if !own && holder.is_some() && seen.at.elapsed() < held_for {
            return Ok(None);
        }
        match self.hold(lease, seen).await {
            Ok(epoch) => Ok(Some(epoch)),
            // somebody else was quicker
            Err(kube::Error::Api(s)) if s.is_conflict() && !own => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Takes a lease that is free, or keeps one that this process holds; the epoch.
    async fn hold(&self, lease: Lease, seen: &mut Seen) -> kube::Result<i64> {
        let now = MicroTime(self.clock.now());
        let exists = lease.metadata.resource_version.is_some();
        let before = lease.spec.as_ref();
        let own = before.is_some_and(|s| s.holder_identity.as_ref() == Some(&self.settings.identity));
        let present = before.and_then(|s| s.lease_transitions).unwrap_or(0);
        let spent = i32::try_from(self.spent.load(Ordering::Relaxed)).unwrap_or(i32::MAX);
        // taken up again after its time: what was under way was dropped meanwhile, and so this is a new term
        let goes_on = own && present > spent && self.sender.borrow().is_some_and(|t| Instant::now() < t.until);
        let epoch = if goes_on { present } else { present.max(spent).saturating_add(1) };
        let acquired = before.and_then(|s| s.acquire_time.clone()).filter(|_| own).unwrap_or_else(|| now.clone());
        let next = Lease { spec: Some(self.spec(epoch, acquired, now)), ..lease };
        let params = PostParams::default();
        let written = if exists {
            self.api.replace(&self.settings.name, &params, &next).await?
        } else {
            self.api.create(&params, &next).await?
        };
        let version = written.metadata.resource_version.clone();
        *self.lease.lock().unwrap_or_else(PoisonError::into_inner) = written.metadata.uid.clone().unwrap_or_default();
        *seen = Seen { version, at: Instant::now(), own: Some(written) };
        Ok(i64::from(epoch))
    }

    fn spec(&self, transitions: i32, acquired: MicroTime, renewed: MicroTime) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(self.settings.identity.clone()),
            lease_duration_seconds: Some(i32::try_from(self.settings.duration.as_secs().max(1)).unwrap_or(i32::MAX)),
            acquire_time: Some(acquired),
            renew_time: Some(renewed),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        }
    }

    /// Gives the lease back, so that another replica need not wait for its end.
    async fn release(&self) {
        let held = self.sender.send_replace(None).is_some();
        self.metrics.leader.set(0);
        if !held {
            return;
        }
        let give_back = async {
            let Some(mut lease) = self.api.get_opt(&self.settings.name).await? else { return Ok(()) };
            let Some(spec) =
                lease.spec.as_mut().filter(|s| s.holder_identity.as_ref() == Some(&self.settings.identity))
            else {
                return Ok(());
            };
            spec.holder_identity = None;
            spec.lease_duration_seconds = Some(1);
            spec.renew_time = Some(MicroTime(self.clock.now()));
            self.api.replace(&self.settings.name, &PostParams::default(), &lease).await.map(|_| ())
        };
        match tokio::time::timeout(self.call_timeout(), give_back).await {
            Ok(Ok(())) => tracing::info!("the lease was given back"),
            Ok(Err(error)) => tracing::warn!(error = %error, "the lease could not be given back; it ends by itself"),
            Err(_) => tracing::warn!("the lease could not be given back in time; it ends by itself"),
        }
    }
}

/// Identity of this start of this replica.
#[must_use]
pub fn identity(pod: &str, started: Timestamp, process: u32) -> String {
    format!("{pod}_{}-{process}", started.as_nanosecond())
}
