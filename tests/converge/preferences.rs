//! What moves an answer that prefers quick services, and what does that cost?

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use medley::api::ServiceQuery;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    questions::{SOON, ask, matches, triage, writes},
    stage::{NAMESPACE, Stage},
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
