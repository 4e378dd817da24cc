//! Reads boxes out of an answer to `detect`, and writes them the same way.

use std::{fmt::Write, ops::Range};

use crate::tokenizer::{LOCATIONS, Tokenizer};

/// A labelled box, in fractions of the picture from its top left corner.
///
/// An answer holds its edges as `<locNNNN>` tokens in the order y0, x0, y1, x1, each standing
/// for N / 1023 of the picture's height or width (the evaluators of `big_vision`; some ports
/// divide by 1024).
#[derive(Clone, Debug, PartialEq)]
pub struct Detection {
    /// What is in the box.
    pub label: String,
    /// Left edge, 0..=1.
    pub x0: f32,
    /// Top edge, 0..=1.
    pub y0: f32,
    /// Right edge, 0..=1, greater than `x0`.
    pub x1: f32,
    /// Bottom edge, 0..=1, greater than `y0`.
    pub y1: f32,
}

/// Reads the boxes of an answer such as
/// `<loc0100><loc0200><loc0300><loc0400> cat ; <loc0000><loc0000><loc1023><loc1023> sofa`.
///
/// What is not exactly four locations that span an area and a label is skipped: the model wrote
/// it, and an answer cut off by a length limit ends in such a piece.
pub fn parse_detections(text: &str) -> Vec<Detection> {
    scan(text).map(|(detection, _)| detection).collect()
}

/// Reads the boxes of an answer given as token ids, with the ids that each is made of.
///
/// The first four ids of a range are the locations, the others the label; the probabilities the
/// model gave them say how sure it was of the box.
pub fn detection_spans(ids: &[u32], tokenizer: &Tokenizer) -> Vec<(Detection, Range<usize>)> {
    let mut text = String::new();
    let mut stream = tokenizer.stream();
    // Where in the text each id ends; one that waits for others of its character adds nothing.
    let ends: Vec<usize> = ids
        .iter()
        .map(|&id| {
            text.extend(stream.push(id));
            text.len()
        })
        .collect();
    scan(&text)
        .map(|(detection, bytes)| {
            let first = ends.partition_point(|&end| end <= bytes.start);
            let last = ends.partition_point(|&end| end < bytes.end);
            (detection, first..last + 1)
        })
        .collect()
}

/// Writes boxes as the model is trained to answer: the inverse of [`parse_detections`], up to
/// the rounding of the edges to the nearest location.
pub fn format_detections(detections: &[Detection]) -> String {
    let mut text = String::new();
    for Detection { label, x0, y0, x1, y1 } in detections {
        if !text.is_empty() {
            text.push_str(" ; ");
        }
        for edge in [y0, x0, y1, x1] {
            let location = (edge.clamp(0.0, 1.0) * (LOCATIONS - 1) as f32).round();
            // Writing to a string cannot fail.
            let _ = write!(text, "<loc{location:04}>");
        }
        text.push(' ');
        text.push_str(label);
    }
    text
}

/// The detections in a text, with the bytes from the first location to the end of the label.
fn scan(text: &str) -> impl Iterator<Item = (Detection, Range<usize>)> {
    let mut next = 0;
    text.split(';').filter_map(move |piece| {
        let start = next + piece.len() - piece.trim_start().len();
        next += piece.len() + 1;
        let piece = piece.trim();
        Some((detection(piece)?, start..start + piece.len()))
    })
}

/// One box and its label, without space around them.
fn detection(text: &str) -> Option<Detection> {
    let (y0, text) = location(text)?;
    let (x0, text) = location(text)?;
    let (y1, text) = location(text)?;
    let (x1, text) = location(text)?;
    let label = text.trim_start().to_owned();
    let is_label = !label.is_empty() && !label.contains("<loc") && !label.contains("<seg");
    (is_label && x0 < x1 && y0 < y1).then_some(Detection { label, x0, y0, x1, y1 })
}

/// The fraction that a text's first `<locNNNN>` stands for, and the text behind it.
fn location(text: &str) -> Option<(f32, &str)> {
    let (digits, rest) = text.strip_prefix("<loc")?.split_once('>')?;
    let is_location = digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let index: usize = if is_location { digits.parse().ok()? } else { return None };
    (index < LOCATIONS).then(|| (index as f32 / (LOCATIONS - 1) as f32, rest))
}
