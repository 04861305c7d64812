//! What a source file names: its modules, and every path in its code.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// One source file: its path below `src`, and its text.
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    /// The modules it lies in, from the root: `core/name.rs` is `["core", "name"]`.
    fn modules(&self) -> Vec<&str> {
        let path = self.path.trim_end_matches(".rs").trim_end_matches("/mod");
        path.split('/').collect()
    }

    pub(crate) fn room(&self) -> &str {
        self.modules()[0]
    }

    /// All paths that the code names, `use` groups spread out, `crate` and `super` resolved to `crate::…`.
    pub(crate) fn paths(&self) -> BTreeSet<String> {
        let tokens = tokens(&self.text);
        let mut found = BTreeSet::new();
        let mut at = 0;
        while at < tokens.len() {
            if tokens[at] == "use" {
                at = tree(&tokens, at + 1, &[], &mut found);
            } else if is_name(&tokens[at]) {
                let mut path = vec![tokens[at].clone()];
                at += 1;
                while at + 1 < tokens.len() && tokens[at] == "::" && is_name(&tokens[at + 1]) {
                    path.push(tokens[at + 1].clone());
                    at += 2;
                }
                found.insert(path.join("::"));
            } else {
                at += 1;
            }
        }
        found.into_iter().map(|p| self.resolved(&p)).collect()
    }

    /// `super::x` as `crate::…::x`.
    fn resolved(&self, path: &str) -> String {
        let mut rest = path;
        let mut up = 0;
        while let Some(after) = rest.strip_prefix("super::") {
            rest = after;
            up += 1;
        }
        if up == 0 {
            return path.to_owned();
        }
        // one step less may leave a room: an inline `mod tests` uses its first `super` for its own file
        let modules = self.modules();
        let mut whole: Vec<&str> = modules[..modules.len().saturating_sub(up)].to_vec();
        whole.insert(0, "crate");
        whole.push(rest);
        whole.join("::")
    }
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Spreads out the use tree that begins at `at`; gives the place after it.
fn tree(tokens: &[String], mut at: usize, prefix: &[String], found: &mut BTreeSet<String>) -> usize {
    let mut path = prefix.to_vec();
    while at < tokens.len() {
        match tokens[at].as_str() {
            "{" => {
                at += 1;
                while at < tokens.len() && tokens[at] != "}" {
                    at = tree(tokens, at, &path, found);
                    if tokens.get(at).is_some_and(|t| t == ",") {
                        at += 1;
                    }
                }
                return at + 1;
            }
            "as" => at += 2,
            "::" => at += 1,
            "*" => at += 1,
            name if is_name(name) => {
                if name != "self" || path.is_empty() {
                    path.push(name.to_owned());
                }
                at += 1;
            }
            _ => break,
        }
    }
    if path.len() > prefix.len() || !path.is_empty() {
        found.insert(path.join("::"));
    }
    at
}

/// Names and marks of Rust text; comments, strings and characters are left out.
fn tokens(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let mut list = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let rest = &chars[at..];
        match rest {
            ['/', '/', ..] => at += rest.iter().position(|c| *c == '\n').unwrap_or(rest.len()),
            ['/', '*', ..] => {
                at += 2 + rest[2..].windows(2).position(|w| w == ['*', '/']).map_or(rest.len() - 2, |p| p + 2)
            }
            ['r', '"', ..] | ['r', '#', '"' | '#', ..] => {
                let hashes = rest[1..].iter().take_while(|c| **c == '#').count();
                let open = 2 + hashes;
                let close: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
                let body = rest.get(open..).unwrap_or_default();
                at += open + body.windows(close.len()).position(|w| w == close).map_or(body.len(), |p| p + close.len());
            }
            ['"', ..] => {
                let mut end = 1;
                while end < rest.len() && rest[end] != '"' {
                    end += if rest[end] == '\\' { 2 } else { 1 };
                }
                at += end + 1;
            }
            ['\'', '\\', ..] => {
                at += 3 + rest.get(3..).and_then(|r| r.iter().position(|c| *c == '\'')).map_or(0, |p| p + 1)
            }
            ['\'', _, '\'', ..] => at += 3,
            [':', ':', ..] => {
                list.push("::".to_owned());
                at += 2;
            }
            [c, ..] if c.is_alphanumeric() || *c == '_' => {
                let end = rest.iter().position(|c| !(c.is_alphanumeric() || *c == '_')).unwrap_or(rest.len());
                list.push(rest[..end].iter().collect());
                at += end;
            }
            [c, ..] => {
                if !c.is_whitespace() {
                    list.push(c.to_string());
                }
                at += 1;
            }
            [] => break,
        }
    }
    list
}

fn files(folder: &Path, all: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, all);
        } else if path.extension().is_some_and(|e| e == "rs") {
            all.push(path);
        }
    }
}

/// All Rust files below a folder of the repository.
pub(crate) fn below(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut all = Vec::new();
    files(&root, &mut all);
    all.sort();
    let name = |p: &Path| p.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
    all.iter().map(|p| Source { path: name(p), text: fs::read_to_string(p).unwrap() }).collect()
}
