//! What `segment --json` prints.

use paligemma::{Polygon, Rle, Segment as Found};
use serde::Serialize;

use super::{Answer, Box};
use crate::session;

/// `segment`.
#[derive(Serialize)]
pub(crate) struct Segmentation<'a> {
    #[serde(flatten)]
    answer: Answer<'a>,
    segments: Vec<Segment<'a>>,
}

#[derive(Serialize)]
struct Segment<'a> {
    #[serde(flatten)]
    found: Box<'a>,
    /// Pixels of the mask.
    area: usize,
    rle: Runs,
    polygons: Vec<Outlines>,
}

/// As `pycocotools` writes it.
#[derive(Serialize)]
struct Runs {
    /// Height and width.
    size: [u32; 2],
    counts: String,
}

/// Points `[x, y]` in pixels, the first not repeated.
#[derive(Serialize)]
struct Outlines {
    outline: Vec<[f32; 2]>,
    holes: Vec<Vec<[f32; 2]>>,
}

impl<'a> Segmentation<'a> {
    pub(crate) fn new(
        answer: &'a paligemma::Answer,
        timings: session::Timings,
        segments: &'a [Found],
    ) -> Self {
        Self {
            answer: Answer::new(answer, timings),
            segments: segments.iter().map(Segment::new).collect(),
        }
    }
}

impl<'a> Segment<'a> {
    fn new(Found { found, mask, .. }: &'a Found) -> Self {
        let rle = Rle::of(mask);
        let polygons = Polygon::of(mask).into_iter();
        Self {
            found: Box::new(found),
            area: mask.area(),
            rle: Runs { size: rle.size, counts: rle.compressed() },
            polygons: polygons
                .map(|Polygon { outline, holes }| Outlines { outline, holes })
                .collect(),
        }
    }
}
