//! One line of the file, as it is typed, to an example.

use std::fmt;
use std::path::Path;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use crate::{Example, Problem};

/// The keys that rows have.
const KEYS: [&str; 5] = ["image", "images", "prefix", "suffix", "references"];

/// What is expected of a value that is not as it should be.
const TEXT: &str = "a text";
const TEXTS: &str = "a list of one text or more";

/// Reads a line, whose pictures are looked for in `folder`: the example, if there is so much of it,
/// and all that is wrong with it but for the picture files.
pub(super) fn parse(line: &[u8], folder: &Path) -> (Option<Example>, Vec<Problem>) {
    let members = match members(line) {
        Ok(members) => members,
        Err(problem) => return (None, vec![problem]),
    };
    let mut row = Row { members, problems: Vec::new() };
    row.check_keys();
    let images = row.images();
    let (prefix, suffix) = (row.text("prefix"), row.text("suffix"));
    let references = row.texts("references");
    let (Some(images), Some(prefix), Some(suffix)) = (images, prefix, suffix) else {
        return (None, row.problems);
    };
    let references = references.unwrap_or_else(|| vec![suffix.clone()]);
    let images = images.iter().map(|name| folder.join(name)).collect();
    let example = Example { images, prefix, suffix, references };
    row.problems.extend(example.problems());
    (Some(example), row.problems)
}

fn members(line: &[u8]) -> Result<Members, Problem> {
    let text = str::from_utf8(line).map_err(|_| Problem::NotText)?;
    if text.trim().is_empty() {
        return Err(Problem::Blank);
    }
    serde_json::from_str(text).map_err(|error| Problem::Malformed { reason: reason(&error) })
}

/// The parser's message without its line, which is always the first.
fn reason(error: &serde_json::Error) -> String {
    error.to_string().replace(" at line 1 column ", " at column ")
}

/// A row being taken apart.
struct Row {
    members: Members,
    problems: Vec<Problem>,
}

impl Row {
    fn check_keys(&mut self) {
        for (index, (key, _)) in self.members.0.iter().enumerate() {
            if !KEYS.contains(&key.as_str()) {
                let likeness = |known: &&&str| (strsim::jaro_winkler(key, known) * 1e6) as u32;
                let nearest = KEYS.iter().max_by_key(likeness).copied().unwrap_or_default();
                self.problems.push(Problem::UnknownKey { key: key.clone(), nearest });
            } else if self.members.0[..index].iter().any(|(before, _)| before == key) {
                self.problems.push(Problem::SameKey { key: key.clone() });
            }
        }
    }

    fn images(&mut self) -> Option<Vec<String>> {
        let found = match ["image", "images"].map(|key| self.members.get(key).is_some()) {
            [true, false] => self.text("image").map(|name| vec![name]),
            [false, true] => self.texts("images"),
            _ => {
                self.problems.push(Problem::ImageOrImages);
                None
            }
        };
        let is_empty = |names: &Vec<String>| names.iter().any(String::is_empty);
        if found.as_ref().is_some_and(is_empty) {
            self.problems.push(Problem::Empty { key: "image" });
            return None;
        }
        found
    }

    /// A text that must be there.
    fn text(&mut self, key: &'static str) -> Option<String> {
        let problem = match self.members.get(key) {
            Some(Value::String(text)) => return Some(text.clone()),
            Some(_) => Problem::Type { key, expected: TEXT },
            None => Problem::MissingKey { key },
        };
        self.problems.push(problem);
        None
    }

    /// A list of texts that may be there.
    fn texts(&mut self, key: &'static str) -> Option<Vec<String>> {
        let value = self.members.get(key)?;
        let items = value.as_array().filter(|items| !items.is_empty());
        let texts = items.and_then(|items| {
            items.iter().map(|item| item.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()
        });
        if texts.is_none() {
            self.problems.push(Problem::Type { key, expected: TEXTS });
        }
        texts
    }
}

/// The members of an object in their order, those of the same key too.
struct Members(Vec<(String, Value)>);

impl Members {
    fn get(&self, key: &str) -> Option<&Value> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object such as {\"image\": .., \"prefix\": .., \"suffix\": ..}")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Members(members))
    }
}
