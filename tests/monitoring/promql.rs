//! Which series and labels a PromQL expression names. No parser: names, braces, brackets and the words that take label lists.

use std::collections::BTreeSet;

/// Words of PromQL that are neither a series nor a function.
const WORDS: [&str; 5] = ["and", "or", "unless", "bool", "offset"];
/// Words before a list of labels.
const BEFORE_LABELS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];

/// Operators over series, which may have a list of labels before what they are applied to.
const AGGREGATIONS: [&str; 5] = ["avg", "count", "max", "min", "sum"];

/// What an expression names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) series: BTreeSet<String>,
    pub(crate) labels: BTreeSet<String>,
}

impl Named {
    /// Reads an expression, or a dashboard variable's `label_values(series, label)`.
    pub(crate) fn of(expression: &str) -> Self {
        let mut named = Self::default();
        let body = expression.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
        if let Some((series, label)) = body.and_then(|body| body.rsplit_once(',')) {
            named.labels.insert(label.trim().to_owned());
            named.read(series);
        } else {
            named.read(expression);
        }
        named
    }

    fn read(&mut self, expression: &str) {
        let text = without_strings(expression);
        let mut rest = text.as_str();
        while let Some(first) = rest.chars().next() {
            match first {
                '[' => rest = rest.split_once(']').expect("a range has an end").1,
                '{' => {
                    let (matchers, after) = rest[1..].split_once('}').expect("a selector has an end");
                    let names = matchers.split(',').filter_map(|m| m.split(['=', '!']).next());
                    self.labels.extend(names.map(|n| n.trim().to_owned()).filter(|n| !n.is_empty()));
                    rest = after;
                }
                '$' => rest = word(&rest[1..]).1,
                c if c.is_ascii_digit() => rest = rest.trim_start_matches(|c: char| c.is_alphanumeric() || c == '.'),
                c if c.is_ascii_alphabetic() || c == '_' => {
                    let (name, after) = word(rest);
                    rest = after.trim_start();
                    if BEFORE_LABELS.contains(&name) {
                        if let Some(list) = rest.strip_prefix('(') {
                            let (labels, after) = list.split_once(')').expect("a list of labels has an end");
                            self.labels.extend(labels.split(',').map(|l| l.trim().to_owned()));
                            rest = after;
                        }
                    } else if !WORDS.contains(&name) && !AGGREGATIONS.contains(&name) && !rest.starts_with('(') {
                        self.series.insert(name.to_owned());
                    }
                }
                c => rest = &rest[c.len_utf8()..],
            }
        }
    }
}

/// A name at the beginning of a text, and what follows.
fn word(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':')).unwrap_or(text.len());
    text.split_at(end)
}

fn without_strings(text: &str) -> String {
    text.split('"').step_by(2).collect()
}

#[test]
fn series_and_labels_are_found_and_nothing_else_is() {
    let named = Named::of(
        r#"histogram_quantile(0.9, sum by (le, urgency) (rate(a_bucket{job="x{y",urgency=~"stat|asap"}[15m]))) > 60
           and on (kind) b:c:ratio_1h offset 5m / 14.4 unless d_total{} [$__rate_interval] * (1 - 99.5 / 100) or vector(0)"#,
    );
    let set = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(named.series, set(&["a_bucket", "b:c:ratio_1h", "d_total"]));
    assert_eq!(named.labels, set(&["job", "kind", "le", "urgency"]));
    let variable = Named::of(r#"label_values(e{f=~"$g"}, h)"#);
    assert_eq!((variable.series, variable.labels), (set(&["e"]), set(&["f", "h"])));
}
