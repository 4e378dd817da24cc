//! Labelled boxes of a picture to a row of `detect` or `segment`.

use std::path::PathBuf;

use paligemma_processor::{Detection, LOCATIONS, format_detections};

use crate::{Example, Problem};

/// How far a box may leave its picture, in pixels: tools round edges.
const TOLERANCE: f64 = 1.0;

/// A box in pixels as fractions of its picture: left, top, right and bottom edge.
///
/// # Errors
/// If it leaves the picture, or two edges are one location.
pub(super) fn fractions(edges: [f64; 4], size: (u32, u32)) -> Result<[f32; 4], Problem> {
    let [x0, y0, x1, y1] = edges;
    let (width, height) = (f64::from(size.0), f64::from(size.1));
    let is_inside = |low: f64, high: f64, end: f64| low >= -TOLERANCE && high <= end + TOLERANCE;
    if !is_inside(x0, x1, width) || !is_inside(y0, y1, height) {
        return Err(Problem::Outside { edges, size });
    }
    let fraction = |edge: f64, end: f64| (edge / end).clamp(0.0, 1.0) as f32;
    let [x0, x1] = [x0, x1].map(|edge| fraction(edge, width));
    let [y0, y1] = [y0, y1].map(|edge| fraction(edge, height));
    let location = |edge: f32| (edge * (LOCATIONS - 1) as f32).round() as u32;
    if location(x0) >= location(x1) || location(y0) >= location(y1) {
        return Err(Problem::Degenerate);
    }
    Ok([x0, y0, x1, y1])
}

/// A box with its name, without a mask.
pub(super) fn detection(label: &str, [x0, y0, x1, y1]: [f32; 4]) -> Detection {
    Detection { label: label.to_owned(), x0, y0, x1, y1, codes: None }
}

/// Whether a name can be asked for and answered.
pub(super) fn check_label(label: &str) -> Result<(), Problem> {
    let is_plain = !label.trim().is_empty() && !label.contains([';', '<', '\n', '\r']);
    if is_plain { Ok(()) } else { Err(Problem::Label { label: label.to_owned() }) }
}

/// How rows are made of objects.
#[derive(Clone, Copy)]
pub(super) struct Style<'a> {
    /// `detect` or `segment`.
    pub(super) verb: &'static str,
    /// The names of all classes, in their order.
    pub(super) classes: &'a [String],
    /// Whether every class is asked for, not only those that are in the picture.
    pub(super) every_class: bool,
}

impl Style<'_> {
    /// The row of a picture.
    pub(super) fn example(&self, picture: PathBuf, found: &[Detection]) -> Example {
        let is_asked =
            |class: &&String| self.every_class || found.iter().any(|thing| thing.label == **class);
        let asked: Vec<&str> = self.classes.iter().filter(is_asked).map(String::as_str).collect();
        let prefix = format!("{} {}", self.verb, asked.join(" ; "));
        Example::new(vec![picture], prefix, format_detections(found))
    }
}
