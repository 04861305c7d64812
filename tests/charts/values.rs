//! Which values there are, and another one for each.

#![allow(clippy::unwrap_used)] // helpers of tests, outside any #[test] function

use serde_json::{Map, Value, json};

/// Paths of all values that are not a section of others.
pub(crate) fn leaves(prefix: &str, value: &Value, paths: &mut Vec<String>) {
    for (name, value) in value.as_object().unwrap() {
        let path = format!("{prefix}{name}");
        if value.as_object().is_some_and(|fields| !fields.is_empty()) {
            leaves(&format!("{path}."), value, paths);
        } else {
            paths.push(path);
        }
    }
}

/// A permitted value that differs from the default.
pub(crate) fn another(path: &str, default: &Value) -> Value {
    match path {
        "image.digest" => json!(format!("sha256:{}", "0".repeat(64))),
        "serviceMonitor.enabled" => json!(false),
        "image.pullPolicy" => json!("Never"),
        "log.format" => json!("text"),
        "http.address" => json!("[::]"),
        "replicas" => json!(5),
        "influxdb.url" => json!("http://influx:8086/write?db=medley"),
        "signals.prometheus.url" => json!("https://other:9090/prometheus"),
        "signals.expressions" => json!([{"name": "free", "expr": "1 - load{job=~\"a$\"}", "interval": "1m"}]),
        "prometheusRule.availabilityObjective" => json!(99.9),
        "prometheusRule.enabled" | "dashboards.enabled" | "registry.enabled" => json!(false),
        "networkPolicy.scrapeFrom" | "registry.from" | "networkPolicy.dns.to" | "networkPolicy.apiServer.to" => {
            json!([{"podSelector": {}}])
        }
        "clientCertificates" => json!([{"namespace": "radiology", "name": "pacs", "secret": "pacs-client-tls"}]),
        "calls.allowedRanges" | "calls.deniedRanges" => json!(["10.8.0.0/16"]),
        "networkPolicy.calls" => json!([]),
        "networkPolicy.mirrors" => json!([{"ports": [{"protocol": "TCP", "port": 6379}]}]),
        "mirrors.redis.url" => json!("rediss://other:6379/2"),
        "mirrors.memcached.address" => json!("other:11211"),
        "mirrors.renew" => json!("19s"),
        "tolerations" => json!([{"operator": "Exists"}]),
        "affinity" => json!({"podAntiAffinity": {}}),
        "topologySpreadConstraints" => {
            json!([{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}])
        }
        "networkPolicy.dns.ports" | "networkPolicy.apiServer.ports" => json!([1234]),
        "leaderElection.renewDeadline" => json!("9s"),
        _ => match default {
            Value::Bool(value) => json!(!value),
            Value::Number(value) => json!(value.as_i64().unwrap() + 1),
            Value::Array(_) => json!(["other"]),
            Value::Object(_) => json!({"other": "value"}),
            Value::String(text) if text.ends_with('s') => {
                json!(format!("{}s", text.trim_end_matches('s').parse::<u32>().unwrap() + 1))
            }
            Value::String(text) if text.ends_with("Mi") => json!("128Mi"),
            Value::String(text) if text.ends_with('m') => json!("75m"),
            _ => json!("other"),
        },
    }
}

pub(crate) fn set(values: &mut Value, path: &str, value: Value) {
    let (parents, last) = path.rsplit_once('.').unwrap_or(("", path));
    let mut place = values;
    for name in parents.split('.').filter(|name| !name.is_empty()) {
        place = place.as_object_mut().unwrap().entry(name).or_insert_with(|| Value::Object(Map::new()));
    }
    place[last] = value;
}
