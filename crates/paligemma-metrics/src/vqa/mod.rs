//! VQA accuracy: how many people gave the same answer, after the challenge's processing.

mod contractions;

use std::sync::LazyLock;

use regex_automata::meta::Regex;

use crate::python::{split, strip};
use contractions::CONTRACTIONS;

/// People who have to agree for an answer to be fully right.
const ENOUGH: f64 = 3.0;

/// What is cut out of answers, or becomes a space.
const PUNCTUATION: &str = ";/[]\"{}()=+\\_-><@`,?!";

const ARTICLES: [&str; 3] = ["a", "an", "the"];

const NUMBERS: [(&str, &str); 12] = [
    ("none", "0"),
    ("zero", "0"),
    ("one", "1"),
    ("two", "2"),
    ("three", "3"),
    ("four", "4"),
    ("five", "5"),
    ("six", "6"),
    ("seven", "7"),
    ("eight", "8"),
    ("nine", "9"),
    ("ten", "10"),
];

/// Full stops that the reference strips of one answer at most: it passes a flag, which is the number
/// 32, where a count is expected.
const MOST_STOPS: usize = 32;

/// The accuracy of the VQA challenge (`VQAv2`, `TextVQA`), 0..=1: the mean over leaving out each of the
/// references of min(1, equal ones among the others / 3).
///
/// Answers go through [`vqa_answer`] only where the references are not all equal. Source: `vqaEval.py` of
/// <https://github.com/GT-Vision-Lab/VQA> and its comment in
/// <https://github.com/GT-Vision-Lab/VQA/issues/14>.
pub fn vqa_accuracy(prediction: &str, references: &[impl AsRef<str>]) -> f64 {
    let mut references: Vec<String> =
        references.iter().map(|text| one_line(text.as_ref())).collect();
    let mut prediction = one_line(prediction);
    if references.windows(2).any(|pair| pair[0] != pair[1]) {
        references = references.iter().map(|text| vqa_answer(text)).collect();
        prediction = vqa_answer(&prediction);
    }
    let equal = references.iter().filter(|&reference| *reference == prediction).count();
    let without = |left_out: &String| {
        let others = equal - usize::from(*left_out == prediction);
        (others as f64 / ENOUGH).min(1.0)
    };
    let total: f64 = references.iter().map(without).sum();
    total / references.len().max(1) as f64
}

/// min(1, equal references / 3) without any processing, as big_vision measures OKVQA, A-OKVQA and
/// `VizWiz` (`evaluators/proj/paligemma/transfers/vqa.py`).
pub fn vqa_any_three(prediction: &str, references: &[impl AsRef<str>]) -> f64 {
    let equal = references.iter().filter(|reference| reference.as_ref() == prediction).count();
    (equal as f64 / ENOUGH).min(1.0)
}

/// An answer after the challenge's processing: lower case, without punctuation and articles, number
/// words as digits, contractions with their apostrophe.
pub fn vqa_answer(answer: &str) -> String {
    let words = without_punctuation(answer).to_lowercase();
    let words = split(&words).map(|word| look_up(&NUMBERS, word));
    let words = words.filter(|word| !ARTICLES.contains(word));
    let words = words.map(|word| match CONTRACTIONS.binary_search_by_key(&word, |entry| entry.0) {
        Ok(place) => CONTRACTIONS[place].1,
        Err(_) => word,
    });
    words.collect::<Vec<_>>().join(" ")
}

fn look_up<'a>(table: &[(&str, &'static str)], word: &'a str) -> &'a str {
    table.iter().find(|(from, _)| *from == word).map_or(word, |(_, to)| to)
}

fn one_line(text: &str) -> String {
    strip(&text.replace(['\n', '\t'], " ")).to_owned()
}

/// Punctuation beside a space goes, between letters it becomes a space. That a comma between digits
/// anywhere makes all punctuation go is the reference's way.
fn without_punctuation(answer: &str) -> String {
    static NUMBER_COMMA: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\d,\d").ok());
    let number = NUMBER_COMMA.as_ref().is_some_and(|comma| comma.is_match(answer));
    let mut text = answer.to_owned();
    for mark in PUNCTUATION.chars() {
        let beside_space =
            answer.contains(&format!("{mark} ")) || answer.contains(&format!(" {mark}"));
        text = text.replace(mark, if number || beside_space { "" } else { " " });
    }
    without_stops(&text)
}

/// Full stops stay only before a digit.
fn without_stops(text: &str) -> String {
    static STOP: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\.\d?").ok());
    let Some(stop) = STOP.as_ref() else { return text.to_owned() };
    let mut kept = String::with_capacity(text.len());
    let mut from = 0;
    for found in stop.find_iter(text).filter(|found| found.len() == 1).take(MOST_STOPS) {
        kept.push_str(&text[from..found.start()]);
        from = found.end();
    }
    kept.push_str(&text[from..]);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted() {
        assert!(CONTRACTIONS.is_sorted_by_key(|entry| entry.0));
    }

    #[test]
    fn answers_become_plain() {
        for (answer, plain) in [
            ("The dog!", "dog"),
            ("red/blue", "red blue"),
            ("1,000 people.", "1000 people"),
            ("dont know", "don't know"),
            ("Two", "2"),
            ("3.5", "3.5"),
            ("", ""),
        ] {
            assert_eq!(vqa_answer(answer), plain);
        }
    }
}
