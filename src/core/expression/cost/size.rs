//! How large a value can be: bounds that hold for every evaluation of a node, with a mean for what loops add up.

use std::rc::Rc;

use serde_json::Value;

/// Texts up to this length (bytes) stay known through the estimate, for patterns and separators.
const KNOWN_TEXT: usize = 4096;

/// Bounds of a quantity over all evaluations of one node: their sum is at most their number × `mean`, each is at most
/// `most`. The mean is what makes 2,000 small elements beside a large one cheap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Amount {
    pub(super) mean: u64,
    pub(super) most: u64,
}

impl Amount {
    pub(super) const fn new(value: u64) -> Self {
        Self { mean: value, most: value }
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Self { mean: self.mean.saturating_add(other.mean), most: self.most.saturating_add(other.most) }
    }

    pub(super) fn add(self, value: u64) -> Self {
        self.plus(Self::new(value))
    }

    /// Σ aᵢ·bᵢ ≤ Σ aᵢ · max b, and the same the other way round.
    pub(super) fn times(self, other: Self) -> Self {
        let mean = self.mean.saturating_mul(other.most).min(self.most.saturating_mul(other.mean));
        Self { mean, most: self.most.saturating_mul(other.most) }
    }

    pub(super) fn by(self, factor: u64) -> Self {
        self.times(Self::new(factor))
    }

    pub(super) fn per(self, divisor: u64) -> Self {
        Self { mean: self.mean.div_ceil(divisor.max(1)), most: self.most.div_ceil(divisor.max(1)) }
    }

    /// One or the other at each evaluation: an adversary takes the larger each time.
    pub(super) fn either(self, other: Self) -> Self {
        let most = self.most.max(other.most);
        Self { mean: self.mean.saturating_add(other.mean).min(most), most }
    }

    /// Both groups of evaluations together: a weighted mean is at most the larger mean.
    pub(super) fn mix(self, other: Self) -> Self {
        Self { mean: self.mean.max(other.mean), most: self.most.max(other.most) }
    }

    /// Evaluations repeated unevenly, up to `factor` times as often as on average.
    pub(super) fn uneven(self, factor: u64) -> Self {
        Self { mean: self.mean.saturating_mul(factor).min(self.most), most: self.most }
    }
}

/// Bounds of a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Size {
    /// Elements of a list, entries of a map.
    pub(super) len: Amount,
    /// Bytes of all strings and keys in it.
    pub(super) bytes: Amount,
    /// Values in it, itself, keys and nested ones included.
    pub(super) nodes: Amount,
    /// Levels of nesting; 0 exactly when it is no list and no map.
    pub(super) depth: u64,
    /// Magnitude of its largest whole number.
    pub(super) whole: u64,
}

impl Size {
    /// A number, a truth value, a time.
    pub(super) const SCALAR: Self =
        Self { len: Amount::new(0), bytes: Amount::new(0), nodes: Amount::new(1), depth: 0, whole: u64::MAX };

    /// A string.
    pub(super) fn text(bytes: Amount) -> Self {
        Self { bytes, ..Self::SCALAR }
    }

    /// What copying it costs in steps: one for each value, half for the text of a string, one for each 64 bytes.
    pub(super) fn copy(self) -> Amount {
        let Self { nodes, bytes, .. } = self;
        let texts = Amount { mean: nodes.mean.min(bytes.mean), most: nodes.most.min(bytes.most) };
        nodes.plus(texts.per(2)).plus(bytes.per(64))
    }

    /// Memory in bytes of one such value: a box, its value and the allocator's share for each node, and its text.
    pub(super) fn memory(self) -> u64 {
        self.nodes.most.saturating_mul(48).saturating_add(self.bytes.most)
    }

    fn joined(self, other: Self, join: fn(Amount, Amount) -> Amount) -> Self {
        Self {
            len: join(self.len, other.len),
            bytes: join(self.bytes, other.bytes),
            nodes: join(self.nodes, other.nodes),
            depth: self.depth.max(other.depth),
            whole: self.whole.max(other.whole),
        }
    }

    fn uneven(self, factor: u64) -> Self {
        let Self { len, bytes, nodes, .. } = self;
        Self { len: len.uneven(factor), bytes: bytes.uneven(factor), nodes: nodes.uneven(factor), ..self }
    }
}

/// What is known of a value before evaluation.
#[derive(Clone, Debug, Default)]
pub(super) struct Shape<'a> {
    pub(super) size: Size,
    /// The actual values that it takes, one after the other.
    real: Option<Rc<Vec<&'a Value>>>,
    /// How often a value was looked for to find those in `real`.
    visits: u64,
    /// How unevenly `real` is visited.
    factor: u64,
    /// An element, where the value is a computed list.
    each: Option<Rc<Self>>,
    /// Its text, where it is always the same short one.
    pub(super) text: Option<Rc<str>>,
}

impl<'a> Shape<'a> {
    pub(super) fn of(size: Size) -> Self {
        Self { size, factor: 1, ..Self::default() }
    }

    pub(super) fn known(text: &str) -> Self {
        let known = (text.len() <= KNOWN_TEXT).then(|| Rc::from(text));
        Self { text: known, ..Self::of(Size::text(Amount::new(text.len() as u64))) }
    }

    /// Of a variable's value, if it has one. `seen` counts what was looked at.
    pub(super) fn variable(value: Option<&'a Value>, seen: &mut u64) -> Self {
        Self::real(value.into_iter().collect(), 1, 1, seen)
    }

    /// Of actual values, found in so many visits.
    fn real(values: Vec<&'a Value>, visits: u64, factor: u64, seen: &mut u64) -> Self {
        let (mut total, mut most) = (Measure::default(), Measure::default());
        for value in &values {
            let one = Measure::of(value);
            *seen = seen.saturating_add(one.nodes);
            total.add(&one);
            most.max(&one);
        }
        let visits = visits.max(1);
        let amount = |sum: u64, most: u64| Amount { mean: sum.div_ceil(visits), most };
        let size = Size {
            len: amount(total.len, most.len),
            bytes: amount(total.bytes, most.bytes),
            nodes: amount(total.nodes, most.nodes),
            depth: most.depth,
            whole: most.whole,
        };
        let text = match values.as_slice() {
            [Value::String(s)] if s.len() <= KNOWN_TEXT => Some(Rc::from(s.as_str())),
            _ => None,
        };
        Self { size: size.uneven(factor), real: Some(Rc::new(values)), visits, factor, each: None, text }
    }

    /// A list of `len` elements of one shape; `count` is how often the list is made.
    pub(super) fn list(len: Amount, each: Self, count: u64) -> Self {
        let total = |a: Amount| {
            let (mean, most) = (len.mean.saturating_mul(a.mean), len.most.saturating_mul(a.most));
            let most = most.min(mean.saturating_mul(count));
            Amount { mean: mean.min(most), most }
        };
        let size = Size {
            len,
            bytes: total(each.size.bytes),
            nodes: total(each.size.nodes).add(1),
            depth: each.size.depth.saturating_add(1),
            whole: each.size.whole,
        };
        Self { each: Some(Rc::new(each)), ..Self::of(size) }
    }

    /// The same value, visited unevenly.
    pub(super) fn uneven(&self, factor: u64) -> Self {
        if factor == 1 {
            return self.clone();
        }
        Self {
            size: self.size.uneven(factor),
            real: self.real.clone(),
            visits: self.visits,
            factor: self.factor.saturating_mul(factor),
            each: self.each.as_ref().map(|e| Rc::new(e.uneven(factor))),
            text: self.text.clone(),
        }
    }

    /// Some value inside it.
    pub(super) fn part(&self) -> Self {
        Self::of(Size { len: self.size.nodes, ..self.size })
    }

    /// The value of a key.
    pub(super) fn member(&self, key: &str, seen: &mut u64) -> Self {
        self.chosen(|v| v.get(key), seen)
    }

    /// The element at an index; of all of them when it is not known beforehand.
    pub(super) fn element(&self, index: Option<usize>, seen: &mut u64) -> Self {
        match (&self.real, &self.each, index) {
            (Some(_), _, Some(i)) => self.chosen(|v| v.get(i), seen),
            (Some(values), ..) => Self::all(values, u64::MAX, seen),
            (None, Some(each), _) => each.uneven(u64::MAX),
            (None, None, _) => self.part(),
        }
    }

    fn chosen(&self, choose: impl Fn(&'a Value) -> Option<&'a Value>, seen: &mut u64) -> Self {
        let Some(values) = &self.real else { return self.part() };
        let found = values.iter().filter_map(|v| choose(v)).collect();
        let mut found = Self::real(found, self.visits, self.factor, seen);
        // selecting from what is no map gives `false`
        found.size.nodes = found.size.nodes.mix(Amount::new(1));
        found
    }

    fn all(values: &[&'a Value], factor: u64, seen: &mut u64) -> Self {
        let all: Vec<&'a Value> = values.iter().flat_map(|v| children(v)).collect();
        let visits = all.len() as u64;
        Self::real(all, visits, factor, seen)
    }

    /// How often a text is found in it.
    pub(super) fn occurrences(&self, of: &Self, seen: &mut u64) -> Amount {
        let bytes = self.size.bytes;
        let Some(text) = of.text.as_deref().filter(|t| !t.is_empty()) else {
            return bytes.add(1); // it may be empty, which is found between all characters
        };
        let Some(values) = &self.real else { return bytes.per(text.len() as u64) };
        let (mut total, mut most) = (0, 0);
        for value in values.iter().filter_map(|v| v.as_str()) {
            let found = value.matches(text).count() as u64;
            *seen = seen.saturating_add(value.len() as u64 / 8);
            total += found;
            most = most.max(found);
        }
        Amount { mean: total.div_ceil(self.visits.max(1)), most }.uneven(self.factor)
    }

    /// Whether it is JSON as it came.
    pub(super) const fn is_json(&self) -> bool {
        self.real.is_some() || self.text.is_some()
    }

    /// What a loop over it binds: elements of a list, keys of a map.
    pub(super) fn each(&self, seen: &mut u64) -> Self {
        if let Some(each) = &self.each {
            return (**each).clone();
        }
        if let Some(values) = &self.real {
            if values.iter().all(|v| !v.is_object()) {
                return Self::all(values, self.factor, seen);
            }
            if values.iter().all(|v| !v.is_array()) {
                let keys = || values.iter().filter_map(|v| v.as_object()).flat_map(serde_json::Map::keys);
                let (count, sum) = keys().fold((0_u64, 0_u64), |(n, sum), k| (n + 1, sum + k.len() as u64));
                let most = keys().map(|k| k.len() as u64).max().unwrap_or(0);
                let bytes = Amount { mean: sum.div_ceil(count.max(1)), most }.uneven(self.factor);
                return Self::of(Size::text(bytes));
            }
        }
        let part = self.part().size;
        let share = |a: Amount| Amount { mean: a.mean.div_ceil(self.size.len.mean.max(1)), most: a.most };
        Self::of(Size { len: share(part.len), bytes: share(part.bytes), nodes: share(part.nodes), ..part })
    }

    /// This value or the other.
    pub(super) fn either(&self, other: &Self) -> Self {
        self.joined(other, Amount::either)
    }

    /// Values of both kinds side by side.
    pub(super) fn mix(&self, other: &Self) -> Self {
        self.joined(other, Amount::mix)
    }

    fn joined(&self, other: &Self, join: fn(Amount, Amount) -> Amount) -> Self {
        let each = match (&self.each, &other.each) {
            (Some(a), Some(b)) => Some(Rc::new(a.joined(b, join))),
            _ => None,
        };
        Self { each, ..Self::of(self.size.joined(other.size, join)) }
    }

    /// `self + other`: numbers, strings or lists.
    pub(super) fn sum(&self, other: &Self, seen: &mut u64) -> Self {
        let whole = self.size.whole.saturating_add(other.size.whole);
        let size = Size { whole, ..self.size.joined(other.size, Amount::plus) };
        if size.depth == 0 {
            return match self.text.as_deref().zip(other.text.as_deref()) {
                Some((a, b)) => Self::known(&format!("{a}{b}")),
                None => Self::of(Size { nodes: Amount::new(1), ..size }),
            };
        }
        let each = match (self.size.len.most, other.size.len.most) {
            (_, 0) => self.each(seen),
            (0, _) => other.each(seen),
            _ => self.each(seen).mix(&other.each(seen)),
        };
        Self { each: Some(Rc::new(each)), ..Self::of(size) }
    }

    /// The same elements in another order or fewer of them.
    pub(super) fn subset(&self, seen: &mut u64) -> Self {
        Self { each: Some(Rc::new(self.each(seen))), ..Self::of(self.size) }
    }
}

fn children(value: &Value) -> Box<dyn Iterator<Item = &Value> + '_> {
    match value {
        Value::Array(items) => Box::new(items.iter()),
        Value::Object(fields) => Box::new(fields.values()),
        _ => Box::new(std::iter::empty()),
    }
}

/// The exact size of a value.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Measure {
    pub(super) len: u64,
    pub(super) bytes: u64,
    pub(super) nodes: u64,
    pub(super) depth: u64,
    pub(super) whole: u64,
}

impl Measure {
    pub(super) fn of(value: &Value) -> Self {
        let mut own = Self { nodes: 1, ..Self::default() };
        let inside = |child: &Value, own: &mut Self| {
            let child = Self::of(child);
            own.len += 1;
            own.bytes += child.bytes;
            own.nodes += child.nodes;
            own.depth = own.depth.max(child.depth + 1);
            own.whole = own.whole.max(child.whole);
        };
        match value {
            Value::Null | Value::Bool(_) => {}
            Value::Number(n) => {
                // a float too large for u64 is as good as unknown; the cast saturates
                own.whole = n
                    .as_i64()
                    .map_or_else(|| n.as_u64(), |i| Some(i.unsigned_abs()))
                    .unwrap_or_else(|| n.as_f64().map_or(u64::MAX, |f| f.abs().ceil() as u64));
            }
            Value::String(s) => own.bytes = s.len() as u64,
            Value::Array(items) => {
                own.depth = 1;
                items.iter().for_each(|v| inside(v, &mut own));
            }
            Value::Object(fields) => {
                own.depth = 1;
                for (key, v) in fields {
                    own.bytes += key.len() as u64;
                    own.nodes += 1;
                    inside(v, &mut own);
                }
            }
        }
        own
    }

    fn add(&mut self, other: &Self) {
        self.len += other.len;
        self.bytes += other.bytes;
        self.nodes += other.nodes;
    }

    fn max(&mut self, other: &Self) {
        self.len = self.len.max(other.len);
        self.bytes = self.bytes.max(other.bytes);
        self.nodes = self.nodes.max(other.nodes);
        self.depth = self.depth.max(other.depth);
        self.whole = self.whole.max(other.whole);
    }
}
