//! What a regular expression can cost: the engine compiles it anew at each call and then walks the text.

/// Compiling stops at the regex crate's own bound (10 MiB); this many steps are enough to get there.
const COMPILE_MOST: u64 = 3_000_000;
/// States of a pattern that is not known beforehand.
const LIVE_MOST: u64 = 400_000;
/// Steps to compile a Unicode class such as `\w`.
const UNICODE_CLASS: u64 = 8_000;

/// The cost of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    /// Steps to compile it.
    pub(super) compile: u64,
    /// States that can be active at once.
    pub(super) live: u64,
}

impl Pattern {
    /// Of its text, where it is known.
    pub(super) fn of(text: Option<&str>) -> Self {
        // the `x` flag changes how the text is read
        match text.filter(|t| !verbose(t)) {
            Some(text) => Self {
                compile: weigh(text, true).saturating_add(500).min(COMPILE_MOST),
                live: weigh(text, false).saturating_add(1).min(LIVE_MOST),
            },
            None => Self { compile: COMPILE_MOST, live: LIVE_MOST },
        }
    }

    /// Steps for each byte of text: building automaton states, or following each live one when there are too many.
    pub(super) const fn each_byte(self) -> u64 {
        8 + self.live / 7
    }
}

fn flags(text: &str) -> impl Iterator<Item = &str> {
    text.split("(?").skip(1).map(|rest| rest.split([':', ')', '<', '=', '!']).next().unwrap_or_default())
}

fn verbose(text: &str) -> bool {
    flags(text).any(|f| f.contains('x'))
}

/// The sum of all atoms, each times the repetitions around it.
fn weigh(text: &str, compile: bool) -> u64 {
    let case = if flags(text).any(|f| f.contains('i')) { 4 } else { 1 };
    let atom = |compiling: u64, living: u64| if compile { compiling * case } else { living };
    let mut groups = vec![0_u64];
    let mut last = 0_u64;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let weight = match c {
            '(' => {
                groups.push(0);
                last = 0;
                continue;
            }
            ')' if groups.len() > 1 => groups.pop().unwrap_or(0).saturating_add(atom(8, 1)),
            '{' => {
                let (times, read) = repetitions(chars.clone());
                if read > 0 {
                    chars.nth(read - 1);
                    let more = last.saturating_mul(times.saturating_sub(1));
                    last = last.saturating_add(more);
                    if let Some(sum) = groups.last_mut() {
                        *sum = sum.saturating_add(more);
                    }
                    continue;
                }
                atom(8, 1)
            }
            '[' => {
                let compiling = class(&mut chars);
                atom(compiling, 4)
            }
            '\\' => match chars.next() {
                Some(c) if c.is_ascii_alphabetic() => atom(UNICODE_CLASS, 4),
                _ => atom(8, 1),
            },
            '.' => atom(200, 4),
            _ => atom(8, 1),
        };
        last = weight;
        if let Some(sum) = groups.last_mut() {
            *sum = sum.saturating_add(weight);
        }
    }
    groups.iter().fold(0, |sum, g| sum.saturating_add(*g))
}

/// The most of `{n}`, `{n,}`, `{n,m}`, and how many characters it takes with its brace; 0 when it is something else.
fn repetitions(chars: impl Iterator<Item = char>) -> (u64, usize) {
    let (mut most, mut number) = (1, 0_u64);
    for (at, c) in chars.enumerate() {
        match c {
            '0'..='9' => number = number.saturating_mul(10).saturating_add(u64::from(c) - u64::from('0')),
            ',' => {
                most = number.saturating_add(1);
                number = 0;
            }
            '}' => return (most.max(number), at + 1),
            c if c.is_whitespace() => {}
            _ => return (1, 0),
        }
    }
    (1, 0)
}

/// Skips the rest of a bracketed class; the steps to compile it.
fn class(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> u64 {
    let (mut depth, mut steps, mut first) = (1, 30, true);
    while let Some(c) = chars.next() {
        match c {
            '^' if first => {
                steps = steps.max(300);
                continue;
            }
            ']' if !first => depth -= 1,
            '[' => {
                depth += 1;
                first = true;
                continue;
            }
            '\\' => {
                steps = UNICODE_CLASS;
                chars.next();
            }
            c if !c.is_ascii() => steps = steps.max(300),
            _ => {}
        }
        first = false;
        if depth == 0 {
            break;
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetitions_multiply() {
        let live = |p: &str| Pattern::of(Some(p)).live;
        assert_eq!(live("abc"), 4);
        assert_eq!(live("a{10}"), 11);
        assert_eq!(live("(ab){2,5}"), 1 + 5 * 3);
        assert_eq!(live("((a{10}){10}){10}"), 1 + 10 * (1 + 10 * (1 + 10)));
        assert_eq!(live("[^]{999}x]{3}"), 1 + 3 * 4, "a class is one atom whatever is in it");
        assert_eq!(live("(?x)a{ 5 }"), LIVE_MOST);
        assert_eq!(Pattern::of(None).compile, COMPILE_MOST);
        assert_eq!(Pattern::of(Some(r"\w{9999}")).compile, COMPILE_MOST);
    }
}
