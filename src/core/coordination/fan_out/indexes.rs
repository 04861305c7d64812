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
                if 4 * k < MAX_ITEMS {
                    set.add(4 * k, u64::from(bits) << (4 * k % 64));
                }
            }
            return set;
        }
        for part in text.split(',').filter(|p| !p.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            if let (Ok(first), Ok(last)) = (first.parse::<u32>(), last.parse::<u32>()) {
                set.insert_all(first, last.min(MAX_ITEMS - 1));
            }
        }
        set
    }

    /// The text; `None` for the empty set.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        use std::fmt::Write as _;
        let last = self.last()?;
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
        let word = |k: u32| self.words.get((k / 16) as usize).copied().unwrap_or(0);
        let digits = (0..=last / 4).filter_map(|k| char::from_digit((word(k) >> (4 * (k % 16)) & 15) as u32, 16));
        Some(BITMAP.chars().chain(digits).collect())
    }

    /// First and last index of each range, in order.
    fn ranges(&self) -> Vec<(u32, u32)> {
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for (word, &bits) in (0_u32..).zip(&self.words) {
            let mut bits = bits;
            while bits != 0 {
                let from = bits.trailing_zeros();
                let many = (bits >> from).trailing_ones();
                let (first, last) = (word * 64 + from, word * 64 + from + many - 1);
                match ranges.last_mut() {
                    Some(before) if before.1 + 1 == first => before.1 = last,
                    _ => ranges.push((first, last)),
                }
                bits &= !(u64::MAX >> (64 - many) << from);
            }
        }
        ranges
    }

    /// Adds indexes of the word that holds `index`.
    fn add(&mut self, index: u32, bits: u64) {
        let word = (index / 64) as usize;
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        self.len += (bits & !self.words[word]).count_ones();
        self.words[word] |= bits;
    }

    /// Adds the indexes from `first` to `last`.
    fn insert_all(&mut self, first: u32, last: u32) {
        let mut index = first;
        while index <= last {
            let (from, many) = (index % 64, (64 - index % 64).min(last - index + 1));
            self.add(index, u64::MAX >> (64 - many) << from);
            index += many;
        }
    }

    /// Adds an index below [`MAX_ITEMS`]; false when it was there.
    pub fn insert(&mut self, index: u32) -> bool {
        if index >= MAX_ITEMS || self.contains(index) {
            return false;
        }
        self.add(index, place(index).1);
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
        let word = self.words.iter().rposition(|bits| *bits != 0)?;
        u32::try_from(word).ok().map(|at| at * 64 + 63 - self.words[word].leading_zeros())
    }

    /// Adds all indexes of another set.
    pub fn extend(&mut self, other: &Self) {
        for (word, &bits) in (0_u32..).zip(&other.words).filter(|(_, bits)| **bits != 0) {
            self.add(word * 64, bits);
        }
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
