//! Masks: which pixels belong to a thing, and how far two agree.

use crate::MetricError;

/// The pixels of a thing in a picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    width: usize,
    pixels: Vec<bool>,
}

impl Mask {
    /// A mask of `width` pixels a row, row by row.
    ///
    /// # Errors
    /// If the pixels are not whole rows.
    pub fn new(width: usize, pixels: Vec<bool>) -> Result<Self, MetricError> {
        if width == 0 && !pixels.is_empty() || width > 0 && !pixels.len().is_multiple_of(width) {
            return Err(MetricError::Rows { width, pixels: pixels.len() });
        }
        Ok(Self { width, pixels })
    }

    /// Width and height.
    pub fn size(&self) -> (usize, usize) {
        (self.width, self.pixels.len().checked_div(self.width).unwrap_or(0))
    }

    /// How many pixels belong to the thing.
    pub fn area(&self) -> usize {
        self.pixels.iter().filter(|&&pixel| pixel).count()
    }

    /// How many pixels belong to both.
    ///
    /// # Errors
    /// If they are of different sizes.
    pub(crate) fn shared(&self, other: &Self) -> Result<usize, MetricError> {
        if self.size() != other.size() {
            return Err(MetricError::MaskSize { prediction: self.size(), reference: other.size() });
        }
        Ok(self.pixels.iter().zip(&other.pixels).filter(|&(&a, &b)| a && b).count())
    }
}

/// The pixels shared by those covered together, 0..=1; 0 where both are empty, as in pycocotools.
///
/// # Errors
/// If the masks are of different sizes.
pub fn mask_iou(prediction: &Mask, reference: &Mask) -> Result<f64, MetricError> {
    let shared = prediction.shared(reference)?;
    let together = prediction.area() + reference.area() - shared;
    Ok(if together == 0 { 0.0 } else { shared as f64 / together as f64 })
}
