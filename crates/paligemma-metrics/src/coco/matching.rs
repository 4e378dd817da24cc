//! Which detections of a label are right, picture by picture, at each threshold of overlap.

use super::{Detection, MOST, Picture, THRESHOLDS, Truth, linspace};

/// What a detection counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Right,
    Wrong,
    /// A crowd, something of another size, or nothing of another size.
    Ignored,
}

/// A detection that has been judged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) score: f64,
    /// Its place among the detections of its picture, the surest first.
    pub(super) rank: usize,
    pub(super) verdicts: [Verdict; THRESHOLDS],
}

/// All detections of a label, picture after picture, and how many things there were to find.
#[derive(Debug, Default)]
pub(super) struct Judged {
    pub(super) found: Vec<Found>,
    pub(super) truths: usize,
}

/// A truth of the label in question.
struct Target<'a> {
    truth: &'a Truth,
    /// Whether it need not be found: a crowd, or of another size.
    ignored: bool,
}

impl Judged {
    /// Judges the detections of `label`, where things of an area within `area` are to be found.
    pub(super) fn of(pictures: &[Picture], label: &str, area: [f64; 2]) -> Self {
        let mut judged = Self::default();
        for picture in pictures {
            judged.add(picture, label, area);
        }
        judged
    }

    fn add(&mut self, picture: &Picture, label: &str, [low, high]: [f64; 2]) {
        let within = |area: f64| low <= area && area <= high;
        let truths = picture.truths.iter().filter(|truth| truth.label == label);
        let mut targets: Vec<Target> = truths
            .map(|truth| Target { truth, ignored: truth.crowd || !within(truth.area) })
            .collect();
        targets.sort_by_key(|target| target.ignored);
        self.truths += targets.iter().filter(|target| !target.ignored).count();
        let found = surest(picture, label);
        let matched = matches(&found, &targets);
        for (rank, (detection, matched)) in found.into_iter().zip(matched).enumerate() {
            let verdicts = matched.map(|target| match target {
                Some(target) if targets[target].ignored => Verdict::Ignored,
                Some(_) => Verdict::Right,
                None if within(detection.rect.area()) => Verdict::Wrong,
                None => Verdict::Ignored,
            });
            self.found.push(Found { score: detection.score, rank, verdicts });
        }
    }
}

/// The detections of the label, the surest first.
fn surest<'a>(picture: &'a Picture, label: &str) -> Vec<&'a Detection> {
    let mut found: Vec<&Detection> =
        picture.detections.iter().filter(|detection| detection.label == label).collect();
    // Adding zero makes the two zeros one.
    found.sort_by(|a, b| (b.score + 0.0).total_cmp(&(a.score + 0.0)));
    found.truncate(MOST);
    found
}

/// The target of each detection at each threshold: of those that overlap enough the best that is not
/// taken, and one that is ignored only where there is no other.
fn matches(found: &[&Detection], targets: &[Target]) -> Vec<[Option<usize>; THRESHOLDS]> {
    let overlaps: Vec<Vec<f64>> = found
        .iter()
        .map(|detection| targets.iter().map(|target| overlap(detection, target.truth)).collect())
        .collect();
    let thresholds: [f64; THRESHOLDS] = linspace(0.5, 0.95);
    let mut matched = vec![[None; THRESHOLDS]; found.len()];
    for (at, threshold) in thresholds.into_iter().enumerate() {
        let mut taken = vec![false; targets.len()];
        for (overlaps, matched) in overlaps.iter().zip(&mut matched) {
            let target = best(overlaps, targets, &taken, threshold);
            if let Some(target) = target {
                taken[target] = true;
            }
            matched[at] = target;
        }
    }
    matched
}

fn best(overlaps: &[f64], targets: &[Target], taken: &[bool], threshold: f64) -> Option<usize> {
    // A full overlap suffices for any threshold.
    let mut enough = threshold.min(1.0 - 1e-10);
    let mut best: Option<usize> = None;
    for (place, target) in targets.iter().enumerate() {
        if taken[place] && !target.truth.crowd {
            continue;
        }
        if target.ignored && best.is_some_and(|best| !targets[best].ignored) {
            break;
        }
        if overlaps[place] >= enough {
            enough = overlaps[place];
            best = Some(place);
        }
    }
    best
}

/// The area shared by the area covered together; of a crowd by the area of the detection, which may be
/// any part of it.
fn overlap(detection: &Detection, truth: &Truth) -> f64 {
    if !truth.crowd {
        return detection.rect.iou(&truth.rect);
    }
    let shared = detection.rect.shared(&truth.rect);
    if shared > 0.0 { shared / detection.rect.area() } else { 0.0 }
}
