//! What moves an answer that prefers quick services, or those of which a signal speaks well, and what does that cost?

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use medley::{
    api::ServiceQuery,
    loops::signals::{Evaluate, Reading, Signal, Source, Unread},
};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    questions::{SOON, ask, condition, matches, triage, writes},
    stage::{NAMESPACE, Stage},
    world::World,
};

/// How long probes of an address take.
#[derive(Default)]
pub(crate) struct Delays {
    usual: Mutex<HashMap<IpAddr, Duration>>,
    asked: AtomicU32,
}

impl Delays {
    /// From now on probes of this address take so long, and up to 9 % more or less.
    fn set(&self, address: &str, usual: Duration) {
        self.usual.lock().unwrap().insert(address.parse().unwrap(), usual);
    }

    /// How long the next probe of an address takes.
    pub(crate) fn of(&self, address: IpAddr) -> Duration {
        let usual = self.usual.lock().unwrap().get(&address).copied();
        let nth = self.asked.fetch_add(1, Ordering::Relaxed);
        usual.map_or(Duration::from_millis(5), |usual| usual.mul_f64(0.91 + 0.01 * f64::from(nth * 7 % 19)))
    }
}

/// What Prometheus says of services, by their names.
#[derive(Default)]
pub(crate) struct Readings {
    values: Mutex<Option<Vec<(&'static str, f64)>>>,
    down: Mutex<bool>,
}

impl Readings {
    /// From now on the signal `free` says so.
    fn say(&self, values: &[(&'static str, f64)]) {
        *self.values.lock().unwrap() = Some(values.to_vec());
    }

    /// Whether nobody answers.
    fn set_down(&self, down: bool) {
        *self.down.lock().unwrap() = down;
    }

    /// Where an operator reads signals, in a world that has any.
    pub(crate) fn source(&self, world: &Arc<World>) -> Option<Source> {
        self.values.lock().unwrap().as_ref()?;
        let interval = Duration::from_secs(30);
        let signal = Signal { name: "free".to_owned(), expression: "1 - load".to_owned(), interval };
        Some(Source { signals: vec![signal], prometheus: Arc::new(Server(Arc::clone(world))) })
    }
}

struct Server(Arc<World>);

impl Evaluate for Server {
    fn evaluate<'r>(&'r self, expression: &'r str) -> Reading<'r> {
        assert_eq!(expression, "1 - load");
        Box::pin(async {
            // long enough for all else of an operator that starts
            sleep(Duration::from_secs(3)).await;
            if *self.0.readings.down.lock().unwrap() {
                return Err(Unread::Unreachable);
            }
            let values = self.0.readings.values.lock().unwrap().clone().unwrap_or_default();
            let sample = |(name, value): (&str, f64)| json!({"metric": {"namespace": NAMESPACE, "service": name}, "value": [0, value.to_string()]});
            let all: Vec<Value> = values.into_iter().map(sample).collect();
            let answer = json!({"status": "success", "data": {"resultType": "vector", "result": all}});
            Ok(answer.to_string().into_bytes())
        })
    }
}

/// A service that is probed every ten seconds.
async fn probed(stage: &Stage, name: &str, host: &str) {
    let probe = json!({"level": "Transport", "interval": "10s", "timeout": "2s"});
    let interface = json!({"name": "http", "port": 8080, "protocol": "HTTP", "probe": probe});
    triage(stage, name, &[(host, "z")], json!({"interfaces": [interface]})).await;
}

fn score(stage: &Stage, service: &str) -> Value {
    let query = stage.server.object("ServiceQuery", NAMESPACE, "answer").unwrap();
    let found = query["status"]["matches"].as_array().unwrap().iter().find(|m| m["service"] == service).cloned();
    found.unwrap()["score"].clone()
}

#[tokio::test(start_paused = true)]
async fn an_answer_moves_once_when_a_service_gets_slower_and_not_with_each_probe() {
    let stage = Stage::new();
    let hour = Duration::from_secs(3600);
    stage.world.delays.set("10.0.0.1", Duration::from_millis(20));
    stage.world.delays.set("10.0.0.2", Duration::from_millis(20));
    probed(&stage, "north", "10.0.0.1").await;
    probed(&stage, "south", "10.0.0.2").await;
    ask(&stage, "answer", json!({"prefer": {"latency": 2}})).await;
    ask(&stage, "plain", json!({})).await;
    stage.start("op-1");
    stage.until("both are in", SOON, |s| matches(s, "answer").len() == 2).await;
    stage.rest().await;
    let even = ["north 10.0.0.1:8080 50", "south 10.0.0.2:8080 50"];
    assert_eq!(matches(&stage, "answer"), even);
    assert_eq!(score(&stage, "north"), json!({"health": 0, "latency": 0, "matching": 0}), "nothing is learned yet");
    let before = writes(&stage);
    sleep(3 * hour).await;
    assert_eq!(matches(&stage, "answer"), even);
    assert_eq!(writes(&stage), before, "what is learned of equal services, of one after the other, is no news");

    stage.world.delays.set("10.0.0.2", Duration::from_millis(200));
    sleep(hour / 3).await;
    // twice e to the power of 1, and of a tenth, and up to a bucket more for each of both
    let told = ["north 10.0.0.1:8080 85", "south 10.0.0.2:8080 15"];
    assert_eq!(matches(&stage, "answer"), told);
    assert_eq!(score(&stage, "north"), json!({"health": 0, "latency": 200, "matching": 0}));
    let south = score(&stage, "south")["latency"].as_u64().unwrap();
    assert!((20..=36).contains(&south), "{south}");
    assert_eq!(writes(&stage), before + 1);
    stage.world.kill("op-1");
    stage.start("op-2");
    sleep(3 * hour).await;
    assert_eq!(matches(&stage, "answer"), told, "another leader reads the same");
    assert_eq!(writes(&stage), before + 1);
    let plain = stage.server.object("ServiceQuery", NAMESPACE, "plain").unwrap();
    let plain: ServiceQuery = serde_json::from_value(plain).unwrap();
    assert!(plain.status.unwrap().matches.iter().all(|m| m.score.latency.is_none() && m.probability == 50));
}

#[tokio::test(start_paused = true)]
async fn an_answer_moves_once_with_a_signal_and_neither_noise_nor_a_new_leader_moves_it() {
    let stage = Stage::new();
    let readings = &stage.world.readings;
    let minute = Duration::from_secs(60);
    readings.say(&[("north", 0.9), ("south", 0.1), ("elsewhere", 0.5)]);
    triage(&stage, "north", &[("10.0.0.1", "z")], json!({})).await;
    triage(&stage, "south", &[("10.0.0.2", "z")], json!({})).await;
    ask(&stage, "answer", json!({"prefer": {"signals": [{"name": "free", "weight": 2}]}})).await;
    ask(&stage, "answer-to-none", json!({"prefer": {"signals": [{"name": "fre", "weight": 100}]}})).await;
    let started = stage.start("op-1");
    // e to the power of 1.8 and of 0.2
    let told = ["north 10.0.0.1:8080 83", "south 10.0.0.2:8080 17"];
    stage.until("it is read", SOON, |s| matches(s, "answer") == told).await;
    stage.rest().await;
    assert_eq!(score(&stage, "south"), json!({"health": 0, "signals": 20, "matching": 0}));
    assert_eq!(condition(&stage, "answer", "SignalsRead"), "True Read");
    assert_eq!(condition(&stage, "answer-to-none", "SignalsRead"), "False UnknownSignal");
    assert_eq!(condition(&stage, "answer-to-none", "Ready"), "True Programmed");
    let even = ["north 10.0.0.1:8080 50", "south 10.0.0.2:8080 50"];
    assert_eq!(matches(&stage, "answer-to-none"), even);
    let metrics = started.metrics.render();
    for line in [
        r#"medley_signal_samples{signal="free",outcome="unknown_service"} 1"#,
        r#"medley_signal_samples{signal="free",outcome="counted"} 2"#,
        r#"medley_signal_up{signal="free"} 1"#,
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }

    let before = writes(&stage);
    for i in 0..120 {
        let noise = 0.024 * f64::from(i * 7 % 11 - 5) / 5.0;
        readings.say(&[("north", 0.9 + noise), ("south", 0.1 - noise)]);
        // a reading that fails now and then is made up for
        readings.set_down(i % 3 > 0);
        sleep(minute / 2).await;
    }
    assert_eq!(writes(&stage), before, "noise for an hour");
    readings.set_down(false);
    readings.say(&[("south", 0.9), ("north", 0.1)]);
    let turned = ["south 10.0.0.2:8080 83", "north 10.0.0.1:8080 17"];
    stage.until("it is followed", minute, |s| matches(s, "answer") == turned).await;
    stage.rest().await;
    assert_eq!(writes(&stage), before + 1);

    stage.world.kill("op-1");
    let started = stage.start("op-2");
    sleep(10 * minute).await;
    assert_eq!((matches(&stage, "answer"), writes(&stage)), (turned.map(str::to_owned).into(), before + 1));
    readings.set_down(true);
    sleep(minute).await;
    assert_eq!(writes(&stage), before + 1, "two readings that fail are no news");
    stage.until("it is out of date", 2 * minute, |s| condition(s, "answer", "SignalsRead") == "False NotRead").await;
    stage.rest().await;
    assert_eq!((matches(&stage, "answer"), writes(&stage)), (even.map(str::to_owned).into(), before + 2));
    assert!(started.metrics.render().contains(r#"medley_signal_up{signal="free"} 0"#));
    // an operator that starts meanwhile does not wait for Prometheus
    stage.world.kill("op-2");
    stage.start("op-3");
    stage.world.set_well("10.0.0.1", false);
    stage.until("endpoints are followed", 2 * minute, |s| matches(s, "answer") == ["south 10.0.0.2:8080 100"]).await;
    readings.set_down(false);
    stage.world.set_well("10.0.0.1", true);
    stage.until("it is read again", 2 * minute, |s| matches(s, "answer") == turned).await;
    assert_eq!(condition(&stage, "answer", "SignalsRead"), "True Read");
}
