//! Sets of the indexes of items, and their text in a status: ranges such as `0-99,105`.
//!
//! Where ranges would take more room than a bit for every item, the text is a bitmap: 10,000 items never take more than
//! 2.5 KiB, however they are scattered.

/// Most items that one step can have.
pub const MAX_ITEMS: u32 = 10_000;
/// What the text of a bitmap begins with. Its digits follow: digit k, in hex, holds the indexes 4k to 4k+3, the lowest as 1.
const BITMAP: &str = "0x";

/// A set of indexes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Indexes {
    words: Vec<u64>,
    len: u32,
}

impl Indexes {
    /// An empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a text. What is not such a text counts as nothing: only medley and the Job controller write it.
    #[must_use]
    pub fn parse(text: Option<&str>) -> Self {
        let mut set = Self::new();
        let text = text.unwrap_or_default();
        if let Some(digits) = text.strip_prefix(BITMAP) {
            for (k, digit) in (0_u32..).zip(digits.chars()) {
                let bits = digit.to_digit(16).unwrap_or(0);
                (0..4).filter(|b| bits & (1 << b) != 0).for_each(|b| {
                    set.insert(4 * k + b);
                });
            }
            return set;
        }
        for part in text.split(',').filter(|p| !p.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            if let (Ok(first), Ok(last)) = (first.parse::<u32>(), last.parse::<u32>()) {
                (first..=last.min(MAX_ITEMS - 1)).for_each(|i| {
                    set.insert(i);
                });
            }
        }
        set
    }

    /// The text; `None` for the empty set.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        use std::fmt::Write as _;
        let last = self.iter().last()?;
        let bitmap = usize::try_from(last / 4 + 1).unwrap_or(usize::MAX).saturating_add(BITMAP.len());
        let mut text = String::new();
        for (first, last) in self.ranges() {
            let comma = if text.is_empty() { "" } else { "," };
            // writing to a String cannot fail
            let _ = if first == last { write!(text, "{comma}{first}") } else { write!(text, "{comma}{first}-{last}") };
        }
        // few indexes are for people to read, whatever a bitmap would take
        if text.len() <= bitmap.max(128) {
            return Some(text);
        }
        let digit = |k: u32| (0..4).map(|b| u32::from(self.contains(4 * k + b)) << b).sum::<u32>();
        let digits = (0..=last / 4).filter_map(|k| char::from_digit(digit(k), 16));
        Some(BITMAP.chars().chain(digits).collect())
    }

    /// First and last index of each range, in order.
    fn ranges(&self) -> Vec<(u32, u32)> {
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for i in self.iter() {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == i => *last = i,
                _ => ranges.push((i, i)),
            }
        }
        ranges
    }

    /// Adds an index below [`MAX_ITEMS`]; false when it was there.
    pub fn insert(&mut self, index: u32) -> bool {
        if index >= MAX_ITEMS || self.contains(index) {
            return false;
        }
        let (word, bit) = place(index);
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= bit;
        self.len += 1;
        true
    }

    /// Removes an index; false when it was not there.
    pub fn remove(&mut self, index: u32) -> bool {
        let there = self.contains(index);
        if there {
            let (word, bit) = place(index);
            self.words[word] &= !bit;
            self.len -= 1;
        }
        there
    }

    /// Whether an index is in it.
    #[must_use]
    pub fn contains(&self, index: u32) -> bool {
        let (word, bit) = place(index);
        self.words.get(word).is_some_and(|w| w & bit != 0)
    }

    /// How many indexes.
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The indexes, in order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        (0_u32..).zip(&self.words).flat_map(|(word, &bits)| {
            let mut bits = bits;
            std::iter::from_fn(move || {
                if bits == 0 {
                    return None;
                }
                let bit = bits.trailing_zeros();
                bits &= bits - 1;
                Some(word * 64 + bit)
            })
        })
    }

    /// The highest index.
    #[must_use]
    pub fn last(&self) -> Option<u32> {
        self.iter().last()
    }

    /// Adds all indexes of another set.
    pub fn extend(&mut self, other: &Self) {
        other.iter().for_each(|i| {
            self.insert(i);
        });
    }
}

const fn place(index: u32) -> (usize, u64) {
    ((index / 64) as usize, 1 << (index % 64))
}

impl FromIterator<u32> for Indexes {
    fn from_iter<T: IntoIterator<Item = u32>>(iter: T) -> Self {
        let mut set = Self::new();
        iter.into_iter().for_each(|i| {
            set.insert(i);
        });
        set
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_are_written_as_people_write_them() {
        let set: Indexes = (0..100).chain([105]).collect();
        assert_eq!(set.text().as_deref(), Some("0-99,105"));
        assert_eq!(Indexes::new().text(), None);
        assert_eq!(Indexes::parse(Some("3,5-7")).iter().collect::<Vec<_>>(), [3, 5, 6, 7]);
    }

    #[test]
    fn the_worst_scattered_items_take_two_and_a_half_kilobytes() {
        let every_second: Indexes = (0..MAX_ITEMS).step_by(2).collect();
        let text = every_second.text().unwrap();
        assert!(text.len() <= 2502, "{}", text.len());
        assert_eq!(Indexes::parse(Some(&text)), every_second);
    }

    proptest! {
        #[test]
        fn a_text_is_read_as_it_was_written(
            indexes in prop::collection::btree_set(0..MAX_ITEMS, 0..3000),
            dense in 0..MAX_ITEMS,
        ) {
            let set: Indexes = indexes.iter().copied().chain(dense..(dense + 200).min(MAX_ITEMS)).collect();
            let text = set.text();
            prop_assert!(text.as_ref().is_none_or(|t| t.len() <= 2502));
            let read = Indexes::parse(text.as_deref());
            prop_assert_eq!(read.iter().collect::<Vec<_>>(), set.iter().collect::<Vec<_>>());
            prop_assert_eq!(read.len(), set.len());
        }
    }
}
