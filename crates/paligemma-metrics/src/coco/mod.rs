//! COCO's average precision and recall of boxes, as pycocotools' `COCOeval` has them.

mod curve;
mod matching;

use std::collections::BTreeSet;

use crate::Rect;
use curve::Curves;
use matching::Judged;

/// What is known to be in a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Truth {
    /// What it is.
    pub label: String,
    /// Where it is, in pixels.
    pub rect: Rect,
    /// Its area in pixels, which says whether it is small, medium or large: COCO counts the pixels of
    /// its mask. Without one take [`Rect::area`].
    pub area: f64,
    /// Whether it stands for many things of a kind: it may be found any number of times, or not at
    /// all.
    pub crowd: bool,
}

/// What was found in a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Detection {
    /// What it is.
    pub label: String,
    /// Where it is, in pixels.
    pub rect: Rect,
    /// How sure that is, on any scale.
    pub score: f64,
}

/// What is in a picture, and what was found in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Picture {
    /// What was found.
    pub detections: Vec<Detection>,
    /// What is there.
    pub truths: Vec<Truth>,
}

/// COCO's twelve numbers, 0..=1; none where nothing of that size is in any picture (pycocotools has
/// -1 there).
///
/// Precision is interpolated at 101 recalls. All are means over the labels; unless they say otherwise,
/// also over the thresholds of overlap 0.5, 0.55, .. 0.95, with up to 100 detections of a label in a
/// picture.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct AveragePrecision {
    /// Average precision.
    pub ap: Option<f64>,
    /// The same at an overlap of 0.5.
    pub ap50: Option<f64>,
    /// The same at an overlap of 0.75.
    pub ap75: Option<f64>,
    /// Average precision of things up to 32 x 32 pixels.
    pub ap_small: Option<f64>,
    /// Average precision of things from 32 x 32 to 96 x 96 pixels.
    pub ap_medium: Option<f64>,
    /// Average precision of things from 96 x 96 pixels on.
    pub ap_large: Option<f64>,
    /// Average recall with one detection of a label in a picture.
    pub ar1: Option<f64>,
    /// Average recall with up to 10.
    pub ar10: Option<f64>,
    /// Average recall with up to 100.
    pub ar100: Option<f64>,
    /// Average recall of things up to 32 x 32 pixels.
    pub ar_small: Option<f64>,
    /// Average recall of things from 32 x 32 to 96 x 96 pixels.
    pub ar_medium: Option<f64>,
    /// Average recall of things from 96 x 96 pixels on.
    pub ar_large: Option<f64>,
}

impl AveragePrecision {
    /// The numbers by their usual names, in COCO's order.
    pub fn named(&self) -> [(&'static str, Option<f64>); 12] {
        [
            ("AP", self.ap),
            ("AP50", self.ap50),
            ("AP75", self.ap75),
            ("APs", self.ap_small),
            ("APm", self.ap_medium),
            ("APl", self.ap_large),
            ("AR1", self.ar1),
            ("AR10", self.ar10),
            ("AR100", self.ar100),
            ("ARs", self.ar_small),
            ("ARm", self.ar_medium),
            ("ARl", self.ar_large),
        ]
    }
}

/// Thresholds of overlap.
const THRESHOLDS: usize = 10;

/// Where in the thresholds 0.75 stands.
const THREE_QUARTERS: usize = 5;

/// The most detections of a label in a picture.
const MOST: usize = 100;

/// Areas of all, small, medium and large things, both ends included (`Params.areaRng`).
const AREAS: [[f64; 2]; 4] =
    [[0.0, 1e5 * 1e5], [0.0, 32.0 * 32.0], [32.0 * 32.0, 96.0 * 96.0], [96.0 * 96.0, 1e5 * 1e5]];

/// COCO's numbers for these pictures. Of detections with one score, those of earlier pictures come
/// first, and within a picture those that stand first.
///
/// Source: `COCOeval` of pycocotools, for boxes, with its own parameters.
pub fn average_precision(pictures: &[Picture]) -> AveragePrecision {
    let truths = pictures.iter().flat_map(|picture| &picture.truths);
    let labels: BTreeSet<&str> = truths.map(|truth| truth.label.as_str()).collect();
    let mut areas: [Vec<Judged>; AREAS.len()] = Default::default();
    for label in labels {
        for (judged, area) in areas.iter_mut().zip(AREAS) {
            judged.push(Judged::of(pictures, label, area));
        }
    }
    let of = |area: usize, most| Curves::of(&areas[area], most);
    let [all, small, medium, large] = [0, 1, 2, 3].map(|area| of(area, MOST));
    AveragePrecision {
        ap: all.precision(0..THRESHOLDS),
        ap50: all.precision(0..1),
        ap75: all.precision(THREE_QUARTERS..THREE_QUARTERS + 1),
        ap_small: small.precision(0..THRESHOLDS),
        ap_medium: medium.precision(0..THRESHOLDS),
        ap_large: large.precision(0..THRESHOLDS),
        ar1: of(0, 1).recall(),
        ar10: of(0, 10).recall(),
        ar100: all.recall(),
        ar_small: small.recall(),
        ar_medium: medium.recall(),
        ar_large: large.recall(),
    }
}

/// `numpy.linspace(start, stop, N)`, to the last bit.
fn linspace<const N: usize>(start: f64, stop: f64) -> [f64; N] {
    let step = (stop - start) / (N - 1) as f64;
    std::array::from_fn(|i| if i + 1 == N { stop } else { i as f64 * step + start })
}

/// The mean, if there is anything.
fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}
