//! `Example`: pictures, what is asked about them, and the answer.

use std::path::PathBuf;

use paligemma_processor::{LOCATIONS, SEGMENTS};

use crate::Problem;

/// A row of data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// Its pictures, in the order in which they stand before the prompt; at least one.
    pub images: Vec<PathBuf>,
    /// What is asked, such as `caption en`.
    pub prefix: String,
    /// The answer that is learnt.
    pub suffix: String,
    /// All answers that are right; the suffix alone where a row gives no others.
    pub references: Vec<String>,
}

/// Tokens that a text must not spell, for only the processor may place them.
const CONTROL_TOKENS: [&str; 5] = ["<image>", "<bos>", "<eos>", "<pad>", "<unk>"];

impl Example {
    /// An example with one right answer.
    pub fn new(images: Vec<PathBuf>, prefix: String, suffix: String) -> Self {
        let references = vec![suffix.clone()];
        Self { images, prefix, suffix, references }
    }

    /// What is wrong with its texts.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let references = self.references.iter().filter(|text| **text != self.suffix);
        let texts = [("prefix", &self.prefix), ("suffix", &self.suffix)]
            .into_iter()
            .chain(references.map(|text| ("references", text)));
        texts.filter_map(|(key, text)| problem(key, text)).collect()
    }
}

/// The first thing wrong with a text.
fn problem(key: &'static str, text: &str) -> Option<Problem> {
    if text.trim().is_empty() {
        return Some(Problem::Empty { key });
    }
    if let Some(token) = CONTROL_TOKENS.into_iter().find(|token| text.contains(token)) {
        return Some(Problem::ControlToken { key, token });
    }
    let no_token = ["<loc", "<seg"].into_iter().flat_map(|head| text.match_indices(head));
    let found = no_token.map(|(at, _)| &text[at..]).find(|text| !begins_with_token(text))?;
    Some(Problem::NoSuchToken { key, found: found.chars().take("<loc0000>".len()).collect() })
}

/// Whether a text begins with the token of a location or of a mask.
fn begins_with_token(text: &str) -> bool {
    let numbered = |head: &str, digits: usize, count: usize| {
        let number = text.strip_prefix(head).and_then(|rest| rest.split_once('>'));
        let is_whole = |number: &&str| {
            number.len() == digits && number.bytes().all(|byte| byte.is_ascii_digit())
        };
        let number = number.map(|(number, _)| number).filter(is_whole);
        number.is_some_and(|number| number.parse().is_ok_and(|number: usize| number < count))
    };
    numbered("<loc", 4, LOCATIONS) || numbered("<seg", 3, SEGMENTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_cannot_be_learnt_are_found() {
        let no_such = |key, found: &str| Problem::NoSuchToken { key, found: found.to_owned() };
        for (text, expected) in [
            ("a cat", None),
            ("<loc0000><loc1023><seg000><seg127> cat", None),
            ("a <b> c", None),
            (" \t", Some(Problem::Empty { key: "suffix" })),
            ("a<eos>", Some(Problem::ControlToken { key: "suffix", token: "<eos>" })),
            ("<loc1024> cat", Some(no_such("suffix", "<loc1024>"))),
            ("cat <loc12>", Some(no_such("suffix", "<loc12>"))),
            ("<seg128>é", Some(no_such("suffix", "<seg128>é"))),
            ("<seg0001>", Some(no_such("suffix", "<seg0001>"))),
        ] {
            let example = Example::new(Vec::new(), "ocr".to_owned(), text.to_owned());
            assert_eq!(example.problems(), Vec::from_iter(expected), "{text:?}");
        }
    }
}
