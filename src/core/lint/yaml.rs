//! From the text of a file to its documents, with the place of everything in them.

use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput};
use serde_json::Value;

use super::{
    place::{Content, Entry, Node, Place},
    scalar,
};

/// Parts that one file may have once its aliases are written out: a small file must not grow without bound.
const MAX_PARTS: usize = 500_000;

/// What a text holds.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub(super) documents: Vec<Node>,
    pub(super) problems: Vec<Problem>,
}

/// Something that is wrong with the YAML itself.
#[derive(Debug, PartialEq)]
pub(super) struct Problem {
    pub(super) place: Place,
    /// It can be read, but perhaps not as meant.
    pub(super) minor: bool,
    pub(super) duplicate: bool,
    /// Path of the field in its document, where there is one.
    pub(super) field: String,
    pub(super) message: String,
}

/// Reads all documents of a text. A document that is broken is left out, and those after it are read.
pub(super) fn read(text: &str) -> Reading {
    let mut options = granit_parser::Options::default();
    options.emit_unresolved_aliases = true;
    options.set_emit_comments(false);
    let mut reader = Reader {
        parser: Parser::new_from_str_with_options(text, options),
        reading: Reading::default(),
        anchors: HashMap::new(),
        path: Vec::new(),
        parts: 0,
    };
    while let Some(next) = reader.parser.next() {
        let document = match next {
            Ok((Event::DocumentStart(..), _)) => reader.document(),
            Ok(_) => continue,
            Err(e) => Err(Broken::Syntax(e)),
        };
        match document {
            Ok(Some(node)) => reader.reading.documents.push(node),
            Ok(None) => {}
            Err(Broken::TooLarge(place)) => {
                reader.problem(
                    place,
                    false,
                    format!("the file has more than {MAX_PARTS} parts with its aliases written out: split it"),
                );
                break;
            }
            Err(Broken::Syntax(error)) => {
                reader.syntax(&error);
                match reader.parser.proceed_next_document() {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(error) => {
                        reader.syntax(&error);
                        break;
                    }
                }
            }
        }
    }
    reader.reading
}

/// Why a document is left out.
enum Broken {
    Syntax(ScanError),
    TooLarge(Place),
}

impl From<ScanError> for Broken {
    fn from(error: ScanError) -> Self {
        Self::Syntax(error)
    }
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    reading: Reading,
    anchors: HashMap<usize, Node>,
    path: Vec<String>,
    parts: usize,
}

impl<'a> Reader<'a> {
    fn problem(&mut self, place: Place, minor: bool, message: String) {
        let field = self.path.concat();
        let field = field.trim_start_matches('.').to_owned();
        self.reading.problems.push(Problem { place, minor, duplicate: false, field, message });
    }

    fn syntax(&mut self, error: &ScanError) {
        self.path.clear();
        let mark = error.marker();
        let message = format!("this is not YAML: {}", error.info());
        self.problem(Place { line: mark.line(), column: mark.col() + 1 }, false, message);
    }

    /// The next document; nothing when it is empty.
    fn document(&mut self) -> Result<Option<Node>, Broken> {
        self.anchors.clear();
        self.path.clear();
        let mut root = None;
        while let Some(next) = self.parser.next() {
            let (event, span) = next?;
            match event {
                Event::DocumentEnd => break,
                event => root = Some(self.node(event, span)?),
            }
        }
        Ok(root.filter(|n: &Node| n.content != Content::Scalar(Value::Null)))
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Broken> {
        match self.parser.next() {
            Some(next) => Ok(next?),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn count(&mut self, more: usize, place: Place) -> Result<(), Broken> {
        self.parts += more;
        if self.parts > MAX_PARTS { Err(Broken::TooLarge(place)) } else { Ok(()) }
    }

    fn node(&mut self, event: Event<'a>, span: Span) -> Result<Node, Broken> {
        let place = Place { line: span.start.line(), column: span.start.col() + 1 };
        self.count(1, place)?;
        let (content, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let is_text = tag.as_ref().is_some_and(|t| t.is_yaml_core_schema_tag("str"));
                if let Some(tag) = tag.as_ref().filter(|t| t.is_custom()) {
                    self.problem(place, false, format!("the tag {tag} means nothing here: remove it"));
                }
                let value = if style == ScalarStyle::Plain && !is_text {
                    self.word(place, &text)
                } else {
                    Value::String(text.into_owned())
                };
                (Content::Scalar(value), anchor)
            }
            Event::SequenceStart(_, anchor, _) => (Content::List(self.items()?), anchor),
            Event::MappingStart(_, anchor, _) => (Content::Map(self.entries()?), anchor),
            Event::Alias(anchor) => {
                let mut node = self.anchors.get(&anchor).cloned();
                match &mut node {
                    Some(node) => {
                        self.count(parts(node), place)?;
                        // what is wrong with it is told where it is used
                        node.place = place;
                        return Ok(node.clone());
                    }
                    None => {
                        self.problem(place, false, "an alias cannot stand inside what it names".to_owned());
                        (Content::Scalar(Value::Null), 0)
                    }
                }
            }
            Event::UnresolvedAlias(name) => {
                self.problem(place, false, format!("there is no anchor `&{name}` above this alias"));
                (Content::Scalar(Value::Null), 0)
            }
            _ => (Content::Scalar(Value::Null), 0),
        };
        let node = Node { place, content };
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn word(&mut self, place: Place, text: &str) -> Value {
        let (value, odd) = scalar::resolve(text);
        if odd {
            let message = format!("kubectl reads `{text}` as {value}: write {value}, or \"{text}\" for the text");
            self.problem(place, true, message);
        }
        value
    }

    fn items(&mut self) -> Result<Vec<Node>, Broken> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd | Event::StreamEnd, _) => return Ok(items),
                (event, span) => {
                    self.path.push(format!("[{}]", items.len()));
                    let node = self.node(event, span)?;
                    self.path.pop();
                    items.push(node);
                }
            }
        }
    }

    fn entries(&mut self) -> Result<Vec<Entry>, Broken> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut merged: Vec<(Place, Node)> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            let merge = matches!(&event, Event::Scalar(text, ScalarStyle::Plain, ..) if text == "<<");
            if matches!(event, Event::MappingEnd | Event::StreamEnd) {
                break;
            }
            let key_node = self.node(event, span)?;
            let place = key_node.place;
            let key = match key_node.content {
                Content::Scalar(Value::String(text)) => text,
                Content::Scalar(other) => other.to_string(),
                _ => {
                    self.problem(place, false, "a key must be text: a list or mapping cannot be one".to_owned());
                    String::new()
                }
            };
            self.path.push(format!(".{key}"));
            let (event, span) = self.next()?;
            let value = self.node(event, span)?;
            if merge {
                merged.push((place, value));
            } else if let Some(first) = entries.iter().find(|e| e.key == key) {
                let message = format!(
                    "the key `{key}` is given twice: it stands in line {} already; remove one of the two",
                    first.place.line
                );
                self.problem(place, false, message);
                if let Some(problem) = self.reading.problems.last_mut() {
                    problem.duplicate = true;
                }
            } else {
                entries.push(Entry { key, place, value });
            }
            self.path.pop();
        }
        for (place, node) in merged {
            self.merge(place, node, &mut entries);
        }
        Ok(entries)
    }

    /// `<<`: the entries of another mapping, or of several, where there is none of the same key.
    fn merge(&mut self, place: Place, node: Node, entries: &mut Vec<Entry>) {
        match node.content {
            Content::Map(more) => {
                for entry in more {
                    if !entries.iter().any(|e| e.key == entry.key) {
                        entries.push(Entry { place, ..entry });
                    }
                }
            }
            Content::List(all) => all.into_iter().for_each(|node| self.merge(place, node, entries)),
            Content::Scalar(_) => self.problem(place, false, "`<<` needs a mapping, or a list of mappings".to_owned()),
        }
    }
}

fn parts(node: &Node) -> usize {
    1 + match &node.content {
        Content::Scalar(_) => 0,
        Content::List(items) => items.iter().map(parts).sum(),
        Content::Map(entries) => entries.iter().map(|e| parts(&e.value)).sum::<usize>(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(line: usize, column: usize) -> Place {
        Place { line, column }
    }

    #[test]
    fn every_part_has_its_place() {
        let reading = read("# a comment\na: 1\nb:\n  - c: x\n    d: {e: [1, \"two\"]}\n---\nf: >-\n  long\n  text\n");
        assert!(reading.problems.is_empty(), "{:?}", reading.problems);
        let [first, second] = reading.documents.as_slice() else { panic!("{:?}", reading.documents) };
        assert_eq!(first.value(), json!({"a": 1, "b": [{"c": "x", "d": {"e": [1, "two"]}}]}));
        for (path, place) in [
            ("a", at(2, 4)),
            ("b", at(3, 1)),
            ("b[0]", at(4, 5)),
            ("b[0].c", at(4, 8)),
            ("b[0].d.e[1]", at(5, 16)),
            ("b[0].d.none.deeper", at(5, 5)),
            ("b[7].c", at(3, 1)),
        ] {
            assert_eq!(first.find(path), place, "{path}");
        }
        assert_eq!(first.find_key("b[0].c"), at(4, 5));
        assert_eq!(second.value(), json!({"f": "long text"}));
        assert_eq!(second.find_key("f"), at(7, 1));
    }

    #[test]
    fn keys_with_dots_and_brackets_are_found() {
        let reading = read("labels:\n  app.kubernetes.io/name: x\n  app: y\n");
        for path in ["labels.app.kubernetes.io/name", "labels[app.kubernetes.io/name]"] {
            assert_eq!(reading.documents[0].find_key(path), at(2, 3), "{path}");
        }
        assert_eq!(reading.documents[0].find_key("labels.app"), at(3, 3));
    }

    #[test]
    fn a_broken_document_does_not_hide_the_next() {
        let reading = read("a: [1\n---\nb: 2\n---\nc: 'x\n");
        assert_eq!(reading.documents.iter().map(Node::value).collect::<Vec<_>>(), [json!({"b": 2})]);
        assert_eq!(reading.problems.len(), 2, "{:?}", reading.problems);
        assert!(reading.problems[0].message.contains("not YAML"), "{:?}", reading.problems);
    }

    #[test]
    fn duplicate_keys_aliases_and_merges() {
        let reading = read("a: &x {k: 1, l: 2}\nb: *x\nc: {<<: *x, k: 3}\na: 5\nd: *none\n");
        let value = reading.documents[0].value();
        assert_eq!(value, json!({"a": {"k": 1, "l": 2}, "b": {"k": 1, "l": 2}, "c": {"k": 3, "l": 2}, "d": null}));
        let places: Vec<_> = reading.problems.iter().map(|p| (p.place, p.duplicate)).collect();
        assert_eq!(places, [(at(4, 1), true), (at(5, 4), false)]);
        assert!(reading.problems[0].message.contains("line 1"), "{:?}", reading.problems);
    }

    #[test]
    fn a_small_file_cannot_grow_without_bound() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..9 {
            let many = format!("*a{}, ", n - 1).repeat(10);
            text.push_str(&format!("a{n}: &a{n} [{}]\n", many.trim_end_matches(", ")));
        }
        assert!(read(&text).problems.iter().any(|p| p.message.contains("more than")));
    }
}
