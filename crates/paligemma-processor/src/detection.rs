//! Reads boxes, and the codes of masks, out of answers to `detect` and `segment`, and writes them
//! the same way.

use std::{fmt::Write, ops::Range};

use crate::tokenizer::{LOCATIONS, SEGMENTS, Tokenizer};

/// Codes of a mask: 4 x 4 of them, row by row.
pub const CODES: usize = 16;

/// A labelled box, in fractions of the picture from its top left corner.
///
/// An answer holds its edges as `<locNNNN>` tokens in the order y0, x0, y1, x1, each standing
/// for N / 1023 of the picture's height or width (the evaluators of `big_vision`; some ports
/// divide by 1024).
///
/// In an answer to `segment`, 16 tokens `<segNNN>` follow the box: the mask within it.
#[derive(Clone, Debug, PartialEq)]
pub struct Detection {
    /// What is in the box. It may be empty beside a mask: a model that was asked for one thing
    /// need not repeat its name.
    pub label: String,
    /// Left edge, 0..=1.
    pub x0: f32,
    /// Top edge, 0..=1.
    pub y0: f32,
    /// Right edge, 0..=1, greater than `x0`.
    pub x1: f32,
    /// Bottom edge, 0..=1, greater than `y0`.
    pub y1: f32,
    /// The codes of the mask within the box, each below [`SEGMENTS`]; none in an answer to
    /// `detect`.
    pub codes: Option<[u8; CODES]>,
}

/// Reads the boxes of an answer such as
/// `<loc0100><loc0200><loc0300><loc0400> cat ; <loc0000><loc0000><loc1023><loc1023> sofa`, and
/// the masks where 16 `<segNNN>` stand before the label.
///
/// What is not exactly four locations that span an area, no mask or a whole one, and a label is
/// skipped: the model wrote it, and an answer cut off by a length limit ends in such a piece.
pub fn parse_detections(text: &str) -> Vec<Detection> {
    scan(text).map(|(detection, _)| detection).collect()
}

/// Reads the boxes of an answer given as token ids, with the ids that each is made of.
///
/// The first four ids of a range are the locations, the next sixteen the mask if there is one, the
/// others the label; the probabilities the model gave them say how sure it was of each.
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
    for Detection { label, x0, y0, x1, y1, codes } in detections {
        if !text.is_empty() {
            text.push_str(" ; ");
        }
        for edge in [y0, x0, y1, x1] {
            let location = (edge.clamp(0.0, 1.0) * (LOCATIONS - 1) as f32).round();
            // Writing to a string cannot fail.
            let _ = write!(text, "<loc{location:04}>");
        }
        for code in codes.iter().flatten() {
            let _ = write!(text, "<seg{code:03}>");
        }
        if !label.is_empty() {
            text.push(' ');
            text.push_str(label);
        }
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

/// One box with its mask and its label, without space around them.
fn detection(text: &str) -> Option<Detection> {
    let mut text = text;
    let mut edges = [0.0; 4];
    for edge in &mut edges {
        let location = number::<4>(&mut text, "<loc").filter(|&location| location < LOCATIONS)?;
        *edge = location as f32 / (LOCATIONS - 1) as f32;
    }
    let [y0, x0, y1, x1] = edges;
    let codes = if text.starts_with(SEGMENT) { Some(mask(&mut text)?) } else { None };
    let label = text.trim_start().to_owned();
    let is_label = !label.contains("<loc") && !label.contains(SEGMENT);
    let is_named = !label.is_empty() || codes.is_some();
    let is_whole = is_label && is_named && x0 < x1 && y0 < y1;
    is_whole.then_some(Detection { label, x0, y0, x1, y1, codes })
}

/// How the token of a code begins.
const SEGMENT: &str = "<seg";

/// The codes that `text` begins with, which are cut off.
fn mask(text: &mut &str) -> Option<[u8; CODES]> {
    let mut codes = [0; CODES];
    for code in &mut codes {
        let index = number::<3>(text, SEGMENT).filter(|&index| index < SEGMENTS)?;
        *code = u8::try_from(index).ok()?;
    }
    Some(codes)
}

/// The number of the token that `text` begins with, which is cut off: `head`, `N` digits and `>`.
fn number<const N: usize>(text: &mut &str, head: &str) -> Option<usize> {
    let (digits, rest) = text.strip_prefix(head)?.split_once('>')?;
    let is_number = digits.len() == N && digits.bytes().all(|byte| byte.is_ascii_digit());
    *text = rest;
    digits.parse().ok().filter(|_| is_number)
}
