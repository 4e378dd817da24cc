//! Masks: which pixels belong to a thing, and how far two agree.

use crate::MetricError;

/// The pixels of a thing in a picture, kept as runs: a set of thousands of pictures fits in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    size: (usize, usize),
    /// Where pixels of the thing begin and end, counted row by row.
    runs: Vec<(usize, usize)>,
}

impl Mask {
    /// A mask of `width` pixels a row, row by row.
    ///
    /// # Errors
    /// If the pixels are not whole rows.
    pub fn new(width: usize, pixels: impl IntoIterator<Item = bool>) -> Result<Self, MetricError> {
        let mut runs: Vec<(usize, usize)> = Vec::new();
        let mut count = 0;
        for (at, pixel) in pixels.into_iter().enumerate() {
            count = at + 1;
            match runs.last_mut().filter(|(_, end)| *end == at) {
                Some((_, end)) if pixel => *end = count,
                _ if pixel => runs.push((at, count)),
                _ => {}
            }
        }
        let height = count.checked_div(width).unwrap_or(0);
        if width * height != count {
            return Err(MetricError::Rows { width, pixels: count });
        }
        Ok(Self { size: (width, height), runs })
    }

    /// Width and height.
    pub fn size(&self) -> (usize, usize) {
        self.size
    }

    /// How many pixels belong to the thing.
    pub fn area(&self) -> usize {
        self.runs.iter().map(|(start, end)| end - start).sum()
    }

    /// How many pixels belong to both.
    ///
    /// # Errors
    /// If they are of different sizes.
    pub(crate) fn shared(&self, other: &Self) -> Result<usize, MetricError> {
        if self.size != other.size {
            return Err(MetricError::MaskSize { prediction: self.size, reference: other.size });
        }
        let mut others = other.runs.iter().peekable();
        let mut shared = 0;
        for &(start, end) in &self.runs {
            while let Some(&&(from, to)) = others.peek() {
                shared += end.min(to).saturating_sub(start.max(from));
                // One that goes further may share pixels with the next.
                if to > end {
                    break;
                }
                others.next();
            }
        }
        Ok(shared)
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
