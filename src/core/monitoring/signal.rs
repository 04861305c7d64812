//! What an expression of Prometheus says of services, held steady: between two answers to a query it moves by whole steps or not at all.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use jiff::Timestamp;
use serde::{Deserialize, de::IgnoredAny};

use crate::core::name::Key;

/// Values are told in steps of so many hundredths, and one that moves by less stays what it was.
pub const STEP: u8 = 5;
/// A value that is read no more counts for so many intervals.
pub const KEPT: u32 = 3;

/// Most characters of what Prometheus says of an expression.
const SAID: usize = 200;

/// A sample of an instant vector.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Labels `namespace` and `service`; `None` where one of them is missing.
    pub service: Option<Key>,
    /// The value as Prometheus tells it; `None` where it is no number, or there is none, as in a histogram.
    pub value: Option<f64>,
}

/// Why an answer of Prometheus is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// It is not what the HTTP API answers.
    #[error("it is not an answer of Prometheus's HTTP API")]
    Unreadable,
    /// Prometheus says that the query has failed.
    #[error("Prometheus could not evaluate it ({0})")]
    Failed(String),
    /// It is a scalar, a text or a range.
    #[error("it is a {0}, not an instant vector")]
    NoVector(String),
}

#[derive(Deserialize)]
struct Answer<R> {
    status: String,
    #[serde(rename = "errorType")]
    class: Option<String>,
    error: Option<String>,
    data: Option<Data<R>>,
}

#[derive(Deserialize)]
struct Data<R> {
    #[serde(rename = "resultType")]
    kind: String,
    result: R,
}

#[derive(Deserialize)]
struct Item {
    metric: Labels,
    value: Option<(IgnoredAny, String)>,
}

#[derive(Deserialize)]
struct Labels {
    namespace: Option<String>,
    service: Option<String>,
}

/// Reads the answer of `/api/v1/query` (Prometheus, HTTP API, "Instant queries"), whatever its status code.
///
/// # Errors
/// When it has failed or is no instant vector.
pub fn samples(body: &[u8]) -> Result<Vec<Sample>, Problem> {
    // what it is comes first: only a vector has items
    let answer: Answer<IgnoredAny> = serde_json::from_slice(body).map_err(|_| Problem::Unreadable)?;
    if answer.status != "success" {
        // what is wrong in the text is the text's; all else may name series, which are nothing for a log
        let error = answer.error.filter(|_| answer.class.as_deref() == Some("bad_data"));
        let said = [answer.class, error].into_iter().flatten().collect::<Vec<_>>().join(": ");
        return Err(Problem::Failed(said.chars().filter(|c| !c.is_control()).take(SAID).collect()));
    }
    match answer.data.map(|d| d.kind).ok_or(Problem::Unreadable)?.as_str() {
        "vector" => {}
        other @ ("scalar" | "string" | "matrix") => return Err(Problem::NoVector(other.to_owned())),
        _ => return Err(Problem::Unreadable),
    }
    let answer: Answer<Vec<Item>> = serde_json::from_slice(body).map_err(|_| Problem::Unreadable)?;
    let items = answer.data.into_iter().flat_map(|d| d.result);
    let sample = |item: Item| Sample {
        service: item.metric.namespace.zip(item.metric.service).map(|(namespace, name)| Key::new(namespace, name)),
        value: item.value.and_then(|(_, text)| text.parse::<f64>().ok()).filter(|v| !v.is_nan()),
    };
    Ok(items.map(sample).collect())
}

/// What became of the samples of one reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// They count.
    pub counted: usize,
    /// There is no such service.
    pub unknown: usize,
    /// They lack the label `namespace` or `service`.
    pub unlabelled: usize,
    /// They have no value, or one that is no number.
    pub no_number: usize,
    /// There are several for one service: none of them counts.
    pub ambiguous: usize,
}

impl Tally {
    /// Each with a word for metrics.
    #[must_use]
    pub const fn each(&self) -> [(&'static str, usize); 5] {
        [
            ("counted", self.counted),
            ("unknown_service", self.unknown),
            ("no_labels", self.unlabelled),
            ("no_number", self.no_number),
            ("ambiguous", self.ambiguous),
        ]
    }
}

/// The values of one signal.
#[derive(Clone, Debug, Default)]
pub struct Held {
    values: HashMap<Key, Value>,
}

#[derive(Clone, Copy, Debug)]
struct Value {
    hundredths: u8,
    read: Timestamp,
}

impl Held {
    /// Takes in a reading; the services whose value has moved, and what became of the samples. Their order does not matter.
    pub fn take(
        &mut self,
        samples: Vec<Sample>,
        known: impl Fn(&Key) -> bool,
        now: Timestamp,
    ) -> (BTreeSet<Key>, Tally) {
        let mut tally = Tally::default();
        let mut read: HashMap<Key, (usize, f64)> = HashMap::new();
        for Sample { service, value } in samples {
            match (service, value) {
                (None, _) => tally.unlabelled += 1,
                (Some(service), _) if !known(&service) => tally.unknown += 1,
                (Some(_), None) => tally.no_number += 1,
                (Some(service), Some(value)) => {
                    let (count, last) = read.entry(service).or_default();
                    (*count, *last) = (*count + 1, value);
                }
            }
        }
        let mut moved = BTreeSet::new();
        for (service, (count, value)) in read {
            if count > 1 {
                tally.ambiguous += count;
                continue;
            }
            tally.counted += 1;
            let before = self.values.get(&service).map(|v| v.hundredths);
            let hundredths = settle(before, value);
            if before != Some(hundredths) {
                moved.insert(service.clone());
            }
            self.values.insert(service, Value { hundredths, read: now });
        }
        (moved, tally)
    }

    /// Drops what was read more than [`KEPT`] intervals ago; of which services.
    pub fn expire(&mut self, now: Timestamp, interval: Duration) -> BTreeSet<Key> {
        let old = |v: &Value| now.duration_since(v.read).unsigned_abs() > interval * KEPT && v.read <= now;
        let gone = self.values.iter().filter(|(_, v)| old(v)).map(|(service, _)| service.clone()).collect();
        self.values.retain(|_, v| !old(v));
        gone
    }

    /// The value of a service in hundredths, from 0 to 100.
    #[must_use]
    pub fn value(&self, service: &Key) -> Option<u8> {
        self.values.get(service).map(|v| v.hundredths)
    }
}

/// A value from 0 to 1 in hundredths: the one before, unless it is a step away.
fn settle(before: Option<u8>, value: f64) -> u8 {
    let (step, exact) = (f64::from(STEP), value.clamp(0.0, 1.0) * 100.0);
    match before {
        // what comes of rounding is no move: 0.55 is a step above 0.5
        Some(before) if (exact - f64::from(before)).abs() < step - 1e-9 => before,
        // a cast from f64 saturates
        _ => ((exact / step).round() * step) as u8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn sample(name: &str, value: f64) -> Sample {
        Sample { service: Some(Key::new("radiology", name)), value: Some(value) }
    }

    // recorded from Prometheus 2.42
    const VECTOR: &str = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"site_load","job":"site","namespace":"radiology","service":"north"},"value":[1795981027.944,"0.75"]},{"metric":{"__name__":"site_load","job":"site","namespace":"radiology","service":"south"},"value":[1795981027.944,"NaN"]},{"metric":{"__name__":"site_load","job":"site","namespace":"radiology","service":"west"},"value":[1795981027.944,"+Inf"]},{"metric":{"__name__":"site_load","job":"site","service":"east"},"value":[1795981027.944,"1"]}]}}"#;
    const BAD_DATA: &str = r#"{"status":"error","errorType":"bad_data","error":"invalid parameter \"query\": 1:4: parse error: unexpected end of input"}"#;
    const EXECUTION: &str = r#"{"status":"error","errorType":"execution","error":"found duplicate series for the match group {job=\"site\"} on the right hand-side of the operation: [{__name__=\"site_load\", job=\"site\", namespace=\"radiology\", service=\"south\"}, {__name__=\"site_load\", job=\"site\", namespace=\"radiology\", service=\"north\"}];many-to-many matching not allowed: matching labels must be unique on one side"}"#;
    const SCALAR: &str = r#"{"status":"success","data":{"resultType":"scalar","result":[1795981027.976,"1"]}}"#;

    #[test]
    fn a_vector_is_read_by_its_labels() {
        let read = samples(VECTOR.as_bytes()).unwrap();
        let shown: Vec<_> = read.iter().map(|s| (s.service.as_ref().map(|k| k.name.as_str()), s.value)).collect();
        assert_eq!(
            shown,
            [
                (Some("north"), Some(0.75)),
                (Some("south"), None),
                (Some("west"), Some(f64::INFINITY)),
                (None, Some(1.0))
            ]
        );
        let empty = r#"{"status":"success","data":{"resultType":"vector","result":[]},"warnings":["x"]}"#;
        assert_eq!(samples(empty.as_bytes()), Ok(vec![]));
        let histogram = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"namespace":"a","service":"b"},"histogram":[1,{"count":"1"}]}]}}"#;
        assert_eq!(samples(histogram.as_bytes()).unwrap()[0].value, None);
    }

    #[test]
    fn what_is_no_vector_says_what_it_is() {
        let said = |body: &str| samples(body.as_bytes()).unwrap_err();
        let parse = "bad_data: invalid parameter \"query\": 1:4: parse error: unexpected end of input";
        assert_eq!(said(BAD_DATA), Problem::Failed(parse.to_owned()));
        assert_eq!(said(EXECUTION), Problem::Failed("execution".to_owned()), "no labels of series");
        let long = format!(r#"{{"status":"error","errorType":"\u0000\n{}"}}"#, "ä".repeat(1000));
        assert_eq!(said(&long), Problem::Failed("ä".repeat(SAID)));
        assert_eq!(said(SCALAR), Problem::NoVector("scalar".to_owned()));
        for kind in ["string", "matrix"] {
            let body = format!(r#"{{"status":"success","data":{{"resultType":"{kind}","result":[1.5,"1"]}}}}"#);
            assert_eq!(said(&body), Problem::NoVector(kind.to_owned()));
        }
        for body in ["", "<html>", "[]", r#"{"status":"success"}"#, &VECTOR[..200], &VECTOR.replace("vector", "<b>")] {
            assert_eq!(said(body), Problem::Unreadable, "{body}");
        }
    }

    #[test]
    fn only_known_services_with_one_number_count_in_whatever_order() {
        let all = vec![
            sample("north", 0.42),
            sample("gone", 0.5),
            sample("south", 0.1),
            sample("south", 0.9),
            Sample { service: None, value: Some(1.0) },
            Sample { service: Some(Key::new("radiology", "east")), value: None },
            sample("west", f64::INFINITY),
        ];
        let known = |key: &Key| key.name != "gone";
        let expected = Tally { counted: 2, unknown: 1, unlabelled: 1, no_number: 1, ambiguous: 2 };
        let mut turned = all.clone();
        turned.reverse();
        for samples in [all, turned] {
            let mut held = Held::default();
            let (moved, tally) = held.take(samples, known, at(0));
            assert_eq!(tally, expected);
            assert_eq!(moved.iter().map(|k| k.name.as_str()).collect::<Vec<_>>(), ["north", "west"]);
            let value = |name: &str| held.value(&Key::new("radiology", name));
            assert_eq!(["north", "south", "east", "west"].map(value), [Some(40), None, None, Some(100)]);
        }
    }

    #[test]
    fn noise_of_less_than_a_step_moves_nothing() {
        let mut held = Held::default();
        let mut moves = 0;
        for i in 0..1000_u32 {
            let noise = f64::from(i * 37 % 100) / 100.0 * 0.049;
            let (moved, _) = held.take(vec![sample("north", 0.53 + noise)], |_| true, at(0));
            moves += moved.len();
        }
        assert!(moves <= 2, "{moves}");
        assert_eq!([0.5, 0.549, 0.451].map(|v| settle(Some(50), v)), [50; 3]);
        assert_eq!([0.55, 0.45, 1.0, -3.0].map(|v| settle(Some(50), v)), [55, 45, 100, 0]);
        assert_eq!([0.0, 0.02, 0.03, 0.974, 2.0].map(|v| settle(None, v)), [0, 0, 5, 95, 100]);
        assert_eq!(settle(Some(95), 1.0), 100);
    }

    #[test]
    fn what_is_read_no_more_counts_for_three_intervals() {
        let (mut held, interval) = (Held::default(), Duration::from_secs(30));
        held.take(vec![sample("north", 0.5), sample("south", 0.5)], |_| true, at(0));
        held.take(vec![sample("north", 0.5)], |_| true, at(30));
        assert_eq!(held.expire(at(90), interval), BTreeSet::new());
        assert_eq!(held.expire(at(91), interval), BTreeSet::from([Key::new("radiology", "south")]));
        assert_eq!(held.value(&Key::new("radiology", "south")), None);
        // a clock that was set back makes nothing old
        assert_eq!(held.expire(at(-1000), interval), BTreeSet::new());
        assert_eq!(held.expire(at(121), interval).len(), 1);
    }
}
