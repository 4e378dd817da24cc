//! Precision by recall, and the means of both.

use std::ops::Range;

use super::matching::{Found, Judged, Verdict};
use super::{THRESHOLDS, linspace, mean};

/// Recalls that precision is read at.
const RECALLS: usize = 101;

/// Precision and recall of every label that there is something to find of, at every threshold.
pub(super) struct Curves(Vec<[Curve; THRESHOLDS]>);

#[derive(Clone, Copy)]
struct Curve {
    /// At each of the recalls.
    precision: [f64; RECALLS],
    /// The most that is reached.
    recall: f64,
}

impl Curves {
    /// The curves with up to `most` detections of a label in a picture.
    pub(super) fn of(labels: &[Judged], most: usize) -> Self {
        let labels = labels.iter().filter(|label| label.truths > 0);
        Self(labels.map(|label| curves(label, most)).collect())
    }

    /// Mean precision over recalls, labels and these thresholds.
    pub(super) fn precision(&self, thresholds: Range<usize>) -> Option<f64> {
        let curves = self.0.iter().flat_map(|label| &label[thresholds.clone()]);
        mean(curves.flat_map(|curve| curve.precision))
    }

    /// Mean recall over labels and thresholds.
    pub(super) fn recall(&self) -> Option<f64> {
        mean(self.0.iter().flatten().map(|curve| curve.recall))
    }
}

fn curves(label: &Judged, most: usize) -> [Curve; THRESHOLDS] {
    let mut found: Vec<&Found> = label.found.iter().filter(|found| found.rank < most).collect();
    // As for the detections of one picture, whose order stays.
    found.sort_by(|a, b| (b.score + 0.0).total_cmp(&(a.score + 0.0)));
    std::array::from_fn(|threshold| {
        curve(found.iter().map(|found| found.verdicts[threshold]), label.truths)
    })
}

fn curve(verdicts: impl Iterator<Item = Verdict>, truths: usize) -> Curve {
    let (mut right, mut wrong) = (0.0, 0.0);
    let mut points: Vec<(f64, f64)> = Vec::new();
    for verdict in verdicts {
        match verdict {
            Verdict::Right => right += 1.0,
            Verdict::Wrong => wrong += 1.0,
            Verdict::Ignored => {}
        }
        points.push((right / truths as f64, right / (wrong + right + f64::EPSILON)));
    }
    // A precision is the best of those at its recall or a higher one.
    let mut best = 0.0_f64;
    for (_, precision) in points.iter_mut().rev() {
        best = best.max(*precision);
        *precision = best;
    }
    let at = |wanted: f64| {
        let first = points.partition_point(|(recall, _)| *recall < wanted);
        points.get(first).map_or(0.0, |(_, precision)| *precision)
    };
    Curve {
        precision: linspace::<RECALLS>(0.0, 1.0).map(at),
        recall: points.last().map_or(0.0, |(recall, _)| *recall),
    }
}
