//! Do the tests notice a bug? A list of deliberate ones, each a text that is replaced by another.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// Where the list is, in the source tree.
pub const LIST: &str = "tests/mutants/list.yaml";

/// One deliberate bug.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mutant {
    /// What is wrong with it.
    pub name: String,
    /// The file that is changed.
    pub file: String,
    /// A text that stands in it exactly once.
    pub search: String,
    /// What stands there instead.
    pub replace: String,
    /// Arguments of `cargo test`: the tests that should notice.
    pub tests: Vec<String>,
}

impl Mutant {
    /// The text of its file with the bug in it.
    ///
    /// # Errors
    /// When the file cannot be read, or does not hold the text exactly once.
    pub fn applied(&self, root: &Path) -> Result<String> {
        let path = root.join(&self.file);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let count = text.matches(&self.search).count();
        ensure!(count == 1, "{}: the text of `{}` stands there {count} times, not once", self.file, self.name);
        Ok(text.replacen(&self.search, &self.replace, 1))
    }
}

/// The list of a source tree.
///
/// # Errors
/// When it cannot be read.
pub fn list(root: &Path) -> Result<Vec<Mutant>> {
    let path = root.join(LIST);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_saphyr::from_str(&text).with_context(|| format!("cannot read {}", path.display()))
}
