//! Tokens as they are written: brackets as names, currencies and fractions in ASCII, lower case.

use crate::python::split;

/// What COCO's caption evaluation drops.
const DROPPED: &[&str] = &[
    "''", "'", "``", "`", "\"", ".", "?", "!", ",", ":", "-", "--", "---", "----", "...", "....",
    ".....", ";",
];

/// Signs that are written as others that are dropped: quotation marks and dashes.
const DROPPED_SIGNS: &str = "\u{91}\u{92}\u{93}\u{94}\u{96}\u{97}«»‘’‛“”‹›–—―…";

/// Tokens that are written otherwise.
const WRITTEN: &[(&str, &str)] = &[
    ("[", "-lsb-"),
    ("]", "-rsb-"),
    ("{", "-lcb-"),
    ("}", "-rcb-"),
    ("&lt;", "<"),
    ("&gt;", ">"),
    ("&nbsp;", ""),
    ("&quot;", ""),
    ("&apos;", ""),
    ("&mdash;", ""),
    ("¢", "cents"),
    ("£", "#"),
    ("¤", "$"),
    ("\u{80}", "$"),
    ("\u{20a0}", "$"),
    ("€", "$"),
    ("¼", "1/4"),
    ("½", "1/2"),
    ("¾", "3/4"),
    ("⅓", "1/3"),
    ("⅔", "2/3"),
];

/// Writes a token, if it is not dropped, as the words that are separated by space in it.
pub(super) fn write(token: &str, words: &mut Vec<String>) {
    let token = token.to_lowercase();
    let mut letters = token.chars();
    let sign = letters.next().filter(|_| letters.next().is_none());
    if DROPPED.contains(&&*token) || sign.is_some_and(|sign| DROPPED_SIGNS.contains(sign)) {
        return;
    }
    if let Some((_, written)) = WRITTEN.iter().find(|(from, _)| *from == token) {
        words.extend((!written.is_empty()).then(|| (*written).to_owned()));
        return;
    }
    let token = if is_contraction(&token) {
        token.replace(['\u{92}', '’'], "'").replace('‘', "`")
    } else {
        token
    };
    let written = token
        .replace("&amp;", "&")
        .replace('(', "-lrb-")
        .replace(')', "-rrb-")
        .replace('\u{ad}', "");
    words.extend(split(&written).map(str::to_owned));
}

/// Whether it is the second part of a contraction, whose apostrophe is written in ASCII.
fn is_contraction(token: &str) -> bool {
    let letters: String = token.chars().filter(char::is_ascii_alphabetic).collect();
    token.chars().count() == letters.len() + 1
        && ["s", "m", "d", "re", "ve", "ll", "nt"].contains(&&*letters)
        && !token.ends_with(|last: char| !last.is_ascii_alphabetic())
}
