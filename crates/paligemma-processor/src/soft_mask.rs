//! `SoftMask`: a decoded mask laid over its box in the picture, and the way back to train with.

use image::{ImageBuffer, Luma};

use crate::bitmap::Bitmap;
use crate::resize::resize_plane;

/// Height and width of a mask as the model writes it, whatever the size of its box.
pub const MASK_SIDE: usize = 64;

/// The decoder's values over the pixels of a box: the thing is where they are positive.
#[derive(Clone, Debug, PartialEq)]
pub struct SoftMask {
    picture: (u32, u32),
    /// Left, top, right and bottom edge, the last two exclusive.
    edges: [u32; 4],
    values: Vec<f32>,
}

impl SoftMask {
    /// Lays a mask over a box of a picture of `width` x `height` pixels.
    ///
    /// The edges `[x0, y0, x1, y1]` are cut down to whole pixels and the mask is resized to what
    /// is between them, bilinearly (`big_vision`
    /// `evaluators/proj/paligemma/transfers/segmentation.py`). A box of less than a pixel has no
    /// mask.
    ///
    /// # Panics
    /// If `decoded` is not [`MASK_SIDE`] x [`MASK_SIDE`] numbers.
    pub fn in_box(
        decoded: &[f32],
        [x0, y0, x1, y1]: [f32; 4],
        (width, height): (u32, u32),
    ) -> Self {
        assert_eq!(decoded.len(), MASK_SIDE * MASK_SIDE, "values of a mask");
        let cut = |edge: f32, end: u32| (edge as u32).min(end);
        let (left, top) = (cut(x0, width), cut(y0, height));
        let (right, bottom) = (cut(x1, width).max(left), cut(y1, height).max(top));
        let size = [(right - left) as usize, (bottom - top) as usize];
        Self {
            picture: (width, height),
            edges: [left, top, right, bottom],
            values: resize_plane(decoded, [MASK_SIDE; 2], size),
        }
    }

    /// The pixels that the values are for, `[x0, y0, x1, y1]` with `x1` and `y1` exclusive.
    pub fn edges(&self) -> [u32; 4] {
        self.edges
    }

    /// The values, about -1..=1, row by row of the box.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The value of a pixel of the picture; none outside the box.
    pub fn get(&self, x: u32, y: u32) -> Option<f32> {
        let [left, top, right, bottom] = self.edges;
        let inside = (left..right).contains(&x) && (top..bottom).contains(&y);
        let at = |x: u32, y: u32| y as usize * (right - left) as usize + x as usize;
        inside.then(|| self.values[at(x - left, y - top)])
    }

    /// The values over the whole picture as grey of 16 bits: 0 for -1 and below and where there is no
    /// box, 65535 for 1 and above. The thing is where it is 32768 or more.
    pub fn to_picture(&self) -> ImageBuffer<Luma<u16>, Vec<u16>> {
        let (width, height) = self.picture;
        ImageBuffer::from_fn(width, height, |x, y| Luma([self.get(x, y).map_or(0, level)]))
    }

    /// The pixels of the picture that belong to the thing: those of positive value.
    pub fn bitmap(&self) -> Bitmap {
        let (width, height) = self.picture;
        Bitmap::from_fn(width, height, |x, y| self.get(x, y).is_some_and(|value| value > 0.0))
    }
}

/// A value of -1..=1 as one of 65536 levels, the upper half of them for positive ones alone.
fn level(value: f32) -> u16 {
    let half = f64::from(u16::MAX) / 2.0;
    // Rounded, with halves down: zero lies half-way between two levels, and is not positive.
    (f64::from(value) * half + half - 0.5).ceil() as u16
}

/// The part of a mask within a box, at [`MASK_SIDE`] x [`MASK_SIDE`], 0..=1: what the encoder of
/// the mask VQ-VAE takes.
///
/// The edges `[x0, y0, x1, y1]`, in pixels, are rounded to whole ones, halves to even, and the
/// mask between them is resized bilinearly, every pixel counting when it shrinks (`big_vision`
/// `pp/proj/paligemma/segmentation.py`). A box of less than a pixel gives zeros.
pub fn crop_mask(mask: &Bitmap, [x0, y0, x1, y1]: [f32; 4]) -> Vec<f32> {
    let (width, height) = mask.dimensions();
    let whole = |edge: f32, end: u32| (edge.round_ties_even() as u32).min(end);
    let (left, top, right, bottom) =
        (whole(x0, width), whole(y0, height), whole(x1, width), whole(y1, height));
    if left >= right || top >= bottom {
        return vec![0.0; MASK_SIDE * MASK_SIDE];
    }
    let pixels = (top..bottom).flat_map(|y| (left..right).map(move |x| (x, y)));
    let values: Vec<f32> = pixels.map(|(x, y)| f32::from(u8::from(mask.get(x, y)))).collect();
    let size = [(right - left) as usize, (bottom - top) as usize];
    resize_plane(&values, size, [MASK_SIDE; 2])
}
