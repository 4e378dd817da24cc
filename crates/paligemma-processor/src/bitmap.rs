//! `Bitmap`: which pixels of a picture belong to a thing.

use image::{GrayImage, Luma};

/// A mask of a whole picture, one flag per pixel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bitmap {
    width: u32,
    height: u32,
    /// Row by row.
    bits: Vec<bool>,
}

impl Bitmap {
    /// The mask of the pixels for which `belongs(x, y)` is true.
    pub fn from_fn(width: u32, height: u32, mut belongs: impl FnMut(u32, u32) -> bool) -> Self {
        let bits = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        Self { width, height, bits: bits.map(|(x, y)| belongs(x, y)).collect() }
    }

    /// Width and height in pixels.
    pub fn dimensions(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// Whether a pixel belongs to the thing; none outside the picture does.
    pub fn get(&self, x: u32, y: u32) -> bool {
        let inside = x < self.width && y < self.height;
        inside && self.bits[y as usize * self.width as usize + x as usize]
    }

    /// How many pixels belong to the thing.
    pub fn area(&self) -> usize {
        self.bits.iter().filter(|bit| **bit).count()
    }

    /// The smallest box around the thing, `[x0, y0, x1, y1]` with `x1` and `y1` exclusive; none if
    /// no pixel belongs to it.
    pub fn bounds(&self) -> Option<[u32; 4]> {
        let mut bounds: Option<[u32; 4]> = None;
        for (y, row) in (0..).zip(self.bits.chunks(self.width.max(1) as usize)) {
            let Some(first) = row.iter().position(|bit| *bit) else { continue };
            let last = row.iter().rposition(|bit| *bit).unwrap_or(first);
            let (first, end) = (first as u32, last as u32 + 1);
            bounds = Some(match bounds {
                Some([x0, y0, x1, _]) => [x0.min(first), y0, x1.max(end), y + 1],
                None => [first, y, end, y + 1],
            });
        }
        bounds
    }

    /// Pixels of both masks over pixels of either; 0 if there are none.
    ///
    /// # Panics
    /// If the masks are of pictures of different sizes.
    pub fn iou(&self, other: &Self) -> f32 {
        assert_eq!(self.dimensions(), other.dimensions(), "masks of one picture");
        let count = |both: fn(bool, bool) -> bool| {
            self.bits.iter().zip(&other.bits).filter(|(a, b)| both(**a, **b)).count()
        };
        let union = count(|a, b| a | b);
        if union == 0 { 0.0 } else { count(|a, b| a & b) as f32 / union as f32 }
    }

    /// The pixels that belong to either mask.
    ///
    /// # Panics
    /// If the masks are of pictures of different sizes.
    #[must_use]
    pub fn union(mut self, other: &Self) -> Self {
        assert_eq!(self.dimensions(), other.dimensions(), "masks of one picture");
        for (bit, other) in self.bits.iter_mut().zip(&other.bits) {
            *bit |= other;
        }
        self
    }

    /// The mask as a picture: 255 where the thing is, 0 elsewhere.
    pub fn to_picture(&self) -> GrayImage {
        GrayImage::from_fn(self.width, self.height, |x, y| Luma([u8::from(self.get(x, y)) * 255]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rectangle_is_measured() {
        let of = |x0, x1, y0, y1| {
            Bitmap::from_fn(7, 5, |x, y| (x0..x1).contains(&x) && (y0..y1).contains(&y))
        };
        let mask = of(2, 6, 1, 4);
        assert_eq!((mask.area(), mask.bounds()), (12, Some([2, 1, 6, 4])));
        assert!(mask.get(2, 1) && !mask.get(6, 1) && !mask.get(7, 1) && !mask.get(2, 5));
        // 2 of 4 columns, of 3 rows: 6 shared of 12 + 12 - 6.
        assert!((mask.iou(&of(4, 8, 1, 4)) - 6.0 / 15.0).abs() < 1e-6);
        assert!((mask.iou(&mask) - 1.0).abs() < 1e-6);
        assert_eq!(of(1, 3, 1, 4).union(&of(3, 6, 1, 4)), of(1, 6, 1, 4));
        let picture = mask.to_picture();
        assert_eq!((picture.get_pixel(2, 1).0, picture.get_pixel(1, 1).0), ([255], [0]));
    }

    #[test]
    fn nothing_has_no_bounds() {
        for (width, height) in [(0, 0), (0, 3), (3, 0), (3, 3)] {
            let empty = Bitmap::from_fn(width, height, |_, _| false);
            assert_eq!((empty.area(), empty.bounds()), (0, None));
            assert!(empty.iou(&empty).abs() < 1e-6);
        }
    }
}
