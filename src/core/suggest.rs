//! What may a misspelt word have meant?

/// The candidate that is nearest to a word, when it is near enough to have been meant: at most a third of the word's
/// letters changed, put in, left out or swapped with their neighbour (optimal string alignment distance; see
/// G. Navarro, "A guided tour to approximate string matching", ACM Computing Surveys 33(1), 2001, §2.2), upper and lower
/// case being the same. Of equally near ones the first.
#[must_use]
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = word.to_lowercase();
    let limit = (plain.chars().count() / 3).clamp(1, 4);
    candidates
        .into_iter()
        .filter(|c| *c != word)
        .map(|c| (distance(&plain, &c.to_lowercase()), c))
        .filter(|(d, _)| *d <= limit)
        .min_by_key(|(d, _)| *d)
        .map(|(_, c)| c)
}

/// How many single letters must be changed, put in, left out or swapped with their neighbour to make one word the other.
#[must_use]
pub fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before = vec![0; b.len() + 1];
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let change = usize::from(a[i - 1] != b[j - 1]);
            row[j] = (above[j] + 1).min(row[j - 1] + 1).min(above[j - 1] + change);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let fields = ["after", "when", "timeout", "retry", "container"];
        for (word, meant) in [
            ("afer", Some("after")),
            ("timeOut", Some("timeout")),
            ("tiemout", Some("timeout")),
            ("contianer", Some("container")),
            ("wen", Some("when")),
            ("colour", None),
            ("x", None),
        ] {
            assert_eq!(nearest(word, fields), meant, "{word}");
        }
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("ab", "ba"), 1);
    }
}
