//! Metrics in InfluxDB's line protocol (InfluxDB 1.x and 2.x documentation, "Line protocol": syntax, special characters).
//!
//! Each sample of the OpenMetrics text becomes one point: its name is the measurement, its labels are tags, its value is the
//! field `value`. What the protocol cannot carry is changed rather than sent wrong: it has no escape for a backslash at the end of
//! a tag and none for a line's end, so backslashes become slashes and control characters become spaces. A tag without a value and
//! a number that is not finite are left out.

use jiff::Timestamp;

/// The points of a text in the OpenMetrics format, one line each, all of this moment; `source` is the tag `pod`.
#[must_use]
pub fn points(openmetrics: &str, source: &str, at: Timestamp) -> Vec<String> {
    let lines = openmetrics.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| Some(point(&Sample::read(line)?, source, at))).collect()
}

/// One value of one series.
struct Sample<'a> {
    name: &'a str,
    labels: Vec<(&'a str, String)>,
    value: f64,
}

impl<'a> Sample<'a> {
    /// `name{label="text",…} value`; `None` when it is anything else, or the value is not finite.
    fn read(line: &'a str) -> Option<Self> {
        let end = line.find(['{', ' '])?;
        let (name, mut rest) = line.split_at(end);
        let mut labels = Vec::new();
        if let Some(inside) = rest.strip_prefix('{') {
            rest = inside;
            while !rest.starts_with('}') {
                let (label, after) = rest.split_once("=\"")?;
                let (text, after) = quoted(after)?;
                labels.push((label, text));
                rest = after.strip_prefix(',').unwrap_or(after);
            }
            rest = &rest[1..];
        }
        let value: f64 = rest.trim().parse().ok()?;
        value.is_finite().then_some(Self { name, labels, value })
    }
}

/// A text up to its closing quote, without escapes, and what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut found = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((found, &text[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => found.push('\n'),
                other => found.push(other),
            },
            other => found.push(other),
        }
    }
    None
}

fn point(sample: &Sample<'_>, source: &str, at: Timestamp) -> String {
    let mut line = escaped(sample.name, &[',', ' ']);
    let own = sample.labels.iter().map(|(label, text)| (*label, text.as_str()));
    let has_source = sample.labels.iter().any(|(label, _)| *label == "pod");
    let added = (!has_source).then_some(("pod", source));
    for (label, text) in own.chain(added).filter(|(_, text)| !text.is_empty()) {
        line.push(',');
        line.push_str(&escaped(label, &[',', '=', ' ']));
        line.push('=');
        line.push_str(&escaped(text, &[',', '=', ' ']));
    }
    line.push_str(&format!(" value={} {}", sample.value, at.as_millisecond()));
    line
}

fn escaped(text: &str, special: &[char]) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars().map(carried) {
        if special.contains(&c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// A character as the protocol can carry it.
fn carried(c: char) -> char {
    match c {
        '\\' => '/',
        c if c.is_control() => ' ',
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at() -> Timestamp {
        Timestamp::from_millisecond(1_700_000_000_123).unwrap()
    }

    #[test]
    fn samples_become_points_and_comments_do_not() {
        let text = "# HELP medley_leader 1 while this process leads.\n# TYPE medley_leader gauge\nmedley_leader 1\n\
                    medley_probes_total{protocol=\"dicom\",reason=\"Healthy\"} 7\n\
                    medley_probe_seconds_bucket{le=\"+Inf\",protocol=\"dicom\"} 7\nmedley_probe_seconds_sum{protocol=\"dicom\"} 0.035\n\
                    medley_bad NaN\n# EOF\n";
        let wanted = [
            "medley_leader,pod=medley-0 value=1 1700000000123",
            "medley_probes_total,protocol=dicom,reason=Healthy,pod=medley-0 value=7 1700000000123",
            "medley_probe_seconds_bucket,le=+Inf,protocol=dicom,pod=medley-0 value=7 1700000000123",
            "medley_probe_seconds_sum,protocol=dicom,pod=medley-0 value=0.035 1700000000123",
        ];
        assert_eq!(points(text, "medley-0", at()), wanted);
    }

    /// Splits where a separator stands that is not escaped, as the protocol's reader does.
    fn split(text: &str, separator: char) -> Vec<String> {
        let mut parts = vec![String::new()];
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            let part = parts.last_mut().unwrap();
            if c == '\\' && chars.peek().is_some_and(|n| [',', '=', ' '].contains(n)) {
                part.push(c);
                part.push(chars.next().unwrap());
            } else if c == separator {
                parts.push(String::new());
            } else {
                part.push(c);
            }
        }
        parts
    }

    fn plain(text: &str) -> String {
        text.replace("\\,", ",").replace("\\=", "=").replace("\\ ", " ")
    }

    proptest! {
        #[test]
        fn whatever_a_label_says_a_reader_finds_one_point_with_it(text in "(?s).{0,40}", value in -1e12..1e12f64) {
            let written = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            // a line of the text format ends at a line's end only
            prop_assume!(!text.contains('\r'));
            let all = points(&format!("medley_x{{label=\"{written}\",other=\"o\"}} {value}\n"), "p,o d", at());
            prop_assert_eq!(all.len(), 1);
            prop_assert!(!all[0].contains(['\n', '\r']));
            let parts = split(&all[0], ' ');
            prop_assert_eq!(parts.len(), 3, "{}", &all[0]);
            prop_assert_eq!(parts[1].strip_prefix("value=").unwrap().parse::<f64>().unwrap(), value);
            let tags: Vec<_> = split(&parts[0], ',').iter().skip(1).map(|tag| {
                let pair = split(tag, '=');
                assert_eq!(pair.len(), 2, "{tag}");
                (plain(&pair[0]), plain(&pair[1]))
            }).collect();
            let carried: String = text.chars().map(carried).collect();
            let mut wanted = vec![("label".to_owned(), carried), ("other".to_owned(), "o".to_owned()), ("pod".to_owned(), "p,o d".to_owned())];
            wanted.retain(|(_, text)| !text.is_empty());
            prop_assert_eq!(tags, wanted);
        }
    }
}
