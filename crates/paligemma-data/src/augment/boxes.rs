//! Boxes of a suffix, and the same boxes within a part of the picture.

use std::fmt::Write;

use paligemma_processor::LOCATIONS;

use super::Part;

/// The largest location, which is the far edge of the picture.
const LAST: f64 = (LOCATIONS - 1) as f64;
/// Bytes of `<loc0000>`.
const TOKEN: usize = 9;

/// The smallest box of whole pixels, `[x0, y0, x1, y1]`, around all boxes of a suffix.
pub(super) fn around(suffix: &str, (width, height): (u32, u32)) -> Option<[u32; 4]> {
    let [mut x0, mut y0, mut x1, mut y1] = [f64::MAX, f64::MAX, 0.0_f64, 0.0_f64];
    map(suffix, |edges @ [top, left, bottom, right]| {
        (x0, y0) = (x0.min(left), y0.min(top));
        (x1, y1) = (x1.max(right), y1.max(bottom));
        edges
    });
    let across = |edge: f64| edge / LAST * f64::from(width);
    let down = |edge: f64| edge / LAST * f64::from(height);
    let edges = [across(x0).floor(), down(y0).floor(), across(x1).ceil(), down(y1).ceil()];
    (x0 <= x1 && y0 <= y1).then(|| edges.map(|edge| edge as u32))
}

/// The suffix of a part of a picture: each box where it is in the part.
pub(super) fn within(suffix: &str, size: (u32, u32), [left, top, width, height]: Part) -> String {
    let moved = |edge: f64, whole: u32, start: u32, length: u32| {
        let pixel = edge / LAST * f64::from(whole);
        ((pixel - f64::from(start)) / f64::from(length)).clamp(0.0, 1.0) * LAST
    };
    let across = |edge| moved(edge, size.0, left, width);
    let down = |edge| moved(edge, size.1, top, height);
    map(suffix, |[y0, x0, y1, x1]| [down(y0), across(x0), down(y1), across(x1)])
}

/// The text with every four locations in a row replaced, which are y0, x0, y1 and x1.
fn map(text: &str, mut replace: impl FnMut([f64; 4]) -> [f64; 4]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("<loc") {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(edges) = four(rest) {
            for edge in replace(edges) {
                // Writing to a string cannot fail.
                let _ = write!(out, "<loc{:04}>", edge.round());
            }
            rest = &rest[4 * TOKEN..];
        } else {
            out.push('<');
            rest = &rest[1..];
        }
    }
    out + rest
}

/// The four locations that a text begins with.
fn four(text: &str) -> Option<[f64; 4]> {
    let mut edges = [0.0; 4];
    for (index, edge) in edges.iter_mut().enumerate() {
        let token = text.get(index * TOKEN..(index + 1) * TOKEN)?;
        let digits = token.strip_prefix("<loc")?.strip_suffix('>')?;
        let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
        *edge = digits.parse().ok().filter(|edge| is_number && *edge <= LAST)?;
    }
    Some(edges)
}
