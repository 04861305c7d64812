//! Writes the metrics into InfluxDB, through the write API of version 1 (`/write`) or 2 (`/api/v2/write`).
//!
//! Every replica writes its own, whether it leads or not. A server that is away or asks for a pause costs nobody else anything: points
//! wait in a queue that has a bound, the oldest go first, and what is lost is counted.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use reqwest::{Client, StatusCode, Url, header, redirect};
use tokio::{
    sync::Notify,
    time::{MissedTickBehavior, interval, sleep},
};
use tokio_util::sync::CancellationToken;

use super::credentials::Credentials;
use crate::{
    cluster::clock::Clock,
    core::monitoring::{
        backlog::{Backlog, Batch},
        line_protocol,
    },
    telemetry::{Dropped, Metrics},
};

/// Most points of a request: what InfluxDB's documentation recommends.
const BATCH: usize = 5_000;
/// Most points that wait: some ten megabytes.
const WAITING: usize = 100_000;
/// Longest time for a request.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Shortest and longest pause after a request that failed.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// Longest pause that a server may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Where to write, and how often.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The write API with its database or bucket.
    pub url: Url,
    /// Who writes.
    pub credentials: Credentials,
    /// From one reading of the metrics to the next.
    pub interval: Duration,
    /// The tag `pod`.
    pub source: String,
}

/// What became of a request.
enum Told {
    Written,
    /// The points are at fault: the same again would be refused again.
    Refused(StatusCode),
    /// Another time it may go well.
    Again(Option<StatusCode>, Duration),
}

/// Who writes.
pub struct Sink {
    settings: Settings,
    client: Client,
    clock: Clock,
    metrics: Metrics,
    backlog: Mutex<Backlog>,
    filled: Notify,
    pauses: (Duration, Duration),
}

impl Sink {
    /// Nothing is written yet.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(settings: Settings, clock: Clock, metrics: Metrics) -> reqwest::Result<Self> {
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .timeout(TIMEOUT)
            .user_agent(concat!("medley/", env!("CARGO_PKG_VERSION")))
            .build()?;
        for reason in ["queue_full", "refused"] {
            // an alert sees a counter grow only if it was there before
            drop(metrics.influxdb_dropped.get_or_create(&Dropped { reason }));
        }
        let backlog = Mutex::new(Backlog::new(WAITING, BATCH));
        Ok(Self { settings, client, clock, metrics, backlog, filled: Notify::new(), pauses: PAUSES })
    }

    /// Writes until stopped; what waits then is lost.
    pub async fn run(self, stop: CancellationToken) {
        let _ = stop.run_until_cancelled(async { tokio::join!(self.read(), self.write()) }).await;
    }

    fn backlog(&self) -> MutexGuard<'_, Backlog> {
        // every change under the lock is whole before anything that could panic
        self.backlog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn dropped(&self, reason: &'static str, points: usize) {
        self.metrics.influxdb_dropped.get_or_create(&Dropped { reason }).inc_by(points as u64);
    }

    /// Reads the metrics at each interval.
    async fn read(&self) {
        let mut ticks = interval(self.settings.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let points = line_protocol::points(&self.metrics.render(), &self.settings.source, self.clock.now());
            let dropped = self.backlog().push(&points);
            self.dropped("queue_full", dropped);
            self.filled.notify_one();
        }
    }

    /// Writes what waits, the oldest first.
    async fn write(&self) {
        let mut pause = None;
        loop {
            let next = self.backlog().pop();
            let Some(batch) = next else {
                self.filled.notified().await;
                continue;
            };
            match self.tell(&batch).await {
                Told::Written => {
                    if pause.take().is_some() {
                        tracing::info!("InfluxDB takes points again");
                    }
                    self.metrics.influxdb_written.inc_by(batch.points as u64);
                }
                Told::Refused(status) => {
                    tracing::warn!(status = status.as_u16(), points = batch.points, "InfluxDB refuses points for good");
                    self.dropped("refused", batch.points);
                }
                Told::Again(status, asked) => {
                    if pause.is_none() {
                        let status = status.map(|s| s.as_u16());
                        tracing::warn!(
                            status,
                            "InfluxDB takes no points; they wait, and the oldest go when there are too many"
                        );
                    }
                    let dropped = self.backlog().put_back(batch);
                    self.dropped("queue_full", dropped);
                    let (first, longest) = self.pauses;
                    let next = pause.map_or(first, |last: Duration| (last * 2).min(longest));
                    pause = Some(next);
                    sleep(next.max(asked)).await;
                }
            }
        }
    }

    /// One request.
    async fn tell(&self, batch: &Batch) -> Told {
        let request = self
            .client
            .post(self.settings.url.clone())
            .header(header::CONTENT_TYPE, "text/plain; charset=utf-8")
            .body(batch.text.clone());
        let request = match &self.settings.credentials {
            Credentials::None => request,
            Credentials::Password(user, password) => request.basic_auth(user, Some(password)),
            Credentials::Token(token) => request.header(header::AUTHORIZATION, format!("Token {token}")),
        };
        // the error would name the URL
        let Ok(answer) = request.send().await else { return Told::Again(None, Duration::ZERO) };
        match answer.status() {
            status if status.is_success() => Told::Written,
            status @ (StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY) => {
                Told::Refused(status)
            }
            status => {
                let asked = answer.headers().get(header::RETRY_AFTER).and_then(|v| v.to_str().ok()?.parse().ok());
                Told::Again(Some(status), asked.map_or(Duration::ZERO, Duration::from_secs).min(LONGEST_PAUSE))
            }
        }
    }
}

#[cfg(test)]
#[path = "influxdb_tests.rs"]
mod tests;
