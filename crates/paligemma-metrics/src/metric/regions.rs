//! Metrics of one region of each picture.

use super::{Metric, Referred};
use crate::report::{Report, mean};
use crate::{Mask, MetricError, mask_iou};

/// Overlaps from which on a box is right.
const HALF: f64 = 0.5;
const THREE_QUARTERS: f64 = 0.75;

/// Scores regions. One that was not found overlaps nothing (`big_vision`
/// `evaluators/proj/paligemma/transfers/segmentation.py`).
pub(super) fn score(metric: Metric, regions: &[Referred]) -> Result<Report, MetricError> {
    let boxes: Vec<f64> = regions.iter().map(box_iou).collect();
    let at = |threshold: f64| -> Vec<f64> {
        boxes.iter().map(|&iou| f64::from(u8::from(iou >= threshold))).collect()
    };
    let (half, three_quarters) = (at(HALF), at(THREE_QUARTERS));
    let missing = regions.iter().filter(|region| region.prediction.is_none()).count() as f64;
    let mut figures = vec![
        ("box-accuracy-0.5", mean(&half)),
        ("box-accuracy-0.75", mean(&three_quarters)),
        ("box-iou", mean(&boxes)),
        ("found", 1.0 - missing / regions.len().max(1) as f64),
    ];
    if metric == Metric::BoxAccuracy {
        return Ok(Report::mean(metric, half).with(figures));
    }
    let (mut shared, mut together) = (0, 0);
    let mut scores = Vec::with_capacity(regions.len());
    for (example, region) in (1..).zip(regions) {
        let reference = region.reference.mask.as_ref();
        let reference = reference.ok_or(MetricError::NoMask { metric, example })?;
        let prediction = region.prediction.as_ref().and_then(|region| region.mask.as_ref());
        scores.push(prediction.map_or(Ok(0.0), |mask| mask_iou(mask, reference))?);
        let both = prediction.map_or(Ok(0), |mask| mask.shared(reference))?;
        shared += both;
        together += prediction.map_or(0, Mask::area) + reference.area() - both;
    }
    figures.push(("overall-iou", shared as f64 / together.max(1) as f64));
    Ok(Report::mean(metric, scores).with(figures))
}

fn box_iou(region: &Referred) -> f64 {
    let prediction = region.prediction.as_ref();
    prediction.map_or(0.0, |found| found.rect.iou(&region.reference.rect))
}
