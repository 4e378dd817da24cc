//! Resizes 8-bit pictures, and planes of numbers, exactly as Pillow does, which the reference uses.

use image::RgbImage;

/// Bits behind the point in a weight: 32, less 8 for the pixel and 2 for the overshoot of the
/// cubic filter (`PRECISION_BITS` in Pillow's `Resample.c`).
const FRACTION_BITS: u32 = 32 - 8 - 2;

/// Interleaved colour channels of a pixel.
const CHANNELS: usize = 3;

/// Squashes `picture` to `size` x `size` pixels, whatever its shape.
///
/// This is `Image.resize((size, size), BICUBIC)` of Pillow 13 bit for bit: a cubic filter
/// (a = -0.5) stretched over the source when shrinking, 22-bit weights, one pass along the rows
/// and one down the columns, each rounded to 8 bits. A picture that loses more than twice as
/// many rows as columns goes through the columns first (earlier Pillows never do that: up to
/// two levels of difference). A picture without pixels becomes black.
pub fn resize(picture: &RgbImage, size: usize) -> RgbImage {
    let lost = |side: u32| (side as usize).saturating_sub(size);
    if lost(picture.height()) > 2 * lost(picture.width()) {
        transpose(&rows_first(&transpose(picture), size))
    } else {
        rows_first(picture, size)
    }
}

/// Exchanges rows and columns.
fn transpose(picture: &RgbImage) -> RgbImage {
    RgbImage::from_fn(picture.height(), picture.width(), |x, y| *picture.get_pixel(y, x))
}

/// Resizes along the rows, then down the columns.
fn rows_first(picture: &RgbImage, size: usize) -> RgbImage {
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    // Each pass transposes, so the same one serves rows and columns.
    let columns = resample_rows(picture.as_raw(), width, height, size);
    let pixels = resample_rows(&columns, height, size, size);
    RgbImage::from_raw(size as u32, size as u32, pixels).expect("the passes fill size x size")
}

/// Resamples every row of a `[height, width, 3]` picture to `size` pixels and returns the
/// transpose, `[size, height, 3]`.
fn resample_rows(source: &[u8], width: usize, height: usize, size: usize) -> Vec<u8> {
    let taps: Vec<Taps> = (0..size).map(|index| Taps::new(index, width, size)).collect();
    let mut target = vec![0; size * height * CHANNELS];
    for y in 0..height {
        let row = &source[y * width * CHANNELS..][..width * CHANNELS];
        for (x, taps) in taps.iter().enumerate() {
            target[(x * height + y) * CHANNELS..][..CHANNELS].copy_from_slice(&taps.apply(row));
        }
    }
    target
}

/// The stretch of source pixels that one target pixel is made of, with their weights.
struct Taps {
    first: usize,
    weights: Vec<i32>,
}

impl Taps {
    /// The taps of target pixel `index` when `source` pixels become `target`.
    fn new(index: usize, source: usize, target: usize) -> Self {
        let (first, weights) = window(&CUBIC, index, source, target);
        let one = f64::from(1 << FRACTION_BITS);
        let weights = weights.iter().map(|weight| (weight * one).round() as i32).collect();
        Self { first, weights }
    }

    /// The weighted sum of a row's pixels, rounded and clipped to 8 bits.
    #[expect(clippy::cast_sign_loss, reason = "clipped to 0..=255 before")]
    fn apply(&self, row: &[u8]) -> [u8; CHANNELS] {
        let mut sums = [1 << (FRACTION_BITS - 1); CHANNELS];
        let pixels = row[self.first * CHANNELS..].as_chunks::<CHANNELS>().0;
        for (weight, pixel) in self.weights.iter().zip(pixels) {
            for (sum, value) in sums.iter_mut().zip(pixel) {
                *sum += weight * i32::from(*value);
            }
        }
        sums.map(|sum| (sum >> FRACTION_BITS).clamp(0, 255) as u8)
    }
}

/// Resizes a plane of `[height, width]` numbers.
///
/// This is `Image.resize(size, BILINEAR)` of Pillow for pictures of mode F: a triangle filter
/// stretched over the source when shrinking, one pass along the rows and one down the columns. It
/// is also TensorFlow's `tf.image.resize(method="bilinear", antialias=True)`, up to rounding.
pub(crate) fn resize_plane(
    values: &[f32],
    [width, height]: [usize; 2],
    [new_width, new_height]: [usize; 2],
) -> Vec<f32> {
    let columns = resample_plane(values, width, height, new_width);
    resample_plane(&columns, height, new_width, new_height)
}

/// Resamples every row of a `[height, width]` plane to `size` numbers and returns the transpose.
fn resample_plane(source: &[f32], width: usize, height: usize, size: usize) -> Vec<f32> {
    let mut target = Vec::with_capacity(size * height);
    for index in 0..size {
        let (first, weights) = window(&TRIANGLE, index, width, size);
        target.extend((0..height).map(|y| {
            let values = source[y * width + first..].iter().zip(&weights);
            values.map(|(&value, weight)| f64::from(value) * weight).sum::<f64>() as f32
        }));
    }
    target
}

/// A filter, and its reach on each side in pixels of the coarser of the two pictures.
struct Filter {
    kernel: fn(f64) -> f64,
    reach: f64,
}

/// What Pillow calls bicubic.
const CUBIC: Filter = Filter { kernel: cubic, reach: 2.0 };
/// What Pillow calls bilinear.
const TRIANGLE: Filter = Filter { kernel: |x| (1.0 - x.abs()).max(0.0), reach: 1.0 };

/// The first source pixel that target pixel `index` is made of when `source` pixels become
/// `target`, and the weights from there on, whose sum is 1.
fn window(filter: &Filter, index: usize, source: usize, target: usize) -> (usize, Vec<f64>) {
    let scale = source as f64 / target as f64;
    let stretch = scale.max(1.0);
    let centre = (index as f64 + 0.5) * scale;
    let first = pixel(centre - filter.reach * stretch);
    let end = pixel(centre + filter.reach * stretch).min(source);
    let weight = |at: usize| (filter.kernel)((at as f64 - centre + 0.5) * (1.0 / stretch));
    let mut weights: Vec<f64> = (first..end).map(weight).collect();
    let sum: f64 = weights.iter().sum();
    for weight in &mut weights {
        *weight /= sum;
    }
    (first, weights)
}

/// The pixel whose left edge is nearest to `position`, not before the first.
#[expect(clippy::cast_sign_loss, reason = "a negative position is clipped to 0, as Pillow does")]
fn pixel(position: f64) -> usize {
    (position + 0.5) as usize
}

/// The cubic convolution kernel with a = -0.5 (Keys 1981), which Pillow calls bicubic.
fn cubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_of_the_right_size_is_unchanged() {
        let picture = RgbImage::from_fn(9, 9, |x, y| [x as u8 * 20, y as u8 * 20, 7].into());
        assert_eq!(resize(&picture, 9), picture);
    }

    #[test]
    fn constant_pictures_stay_constant() {
        for (width, height) in [(1, 1), (1, 50), (301, 2), (64, 48)] {
            let picture = RgbImage::from_pixel(width, height, [255, 128, 1].into());
            assert_eq!(resize(&picture, 14), RgbImage::from_pixel(14, 14, [255, 128, 1].into()));
        }
    }

    #[test]
    fn empty_sizes_are_not_a_panic() {
        assert_eq!(resize(&RgbImage::new(0, 5), 2), RgbImage::new(2, 2));
        assert_eq!(resize(&RgbImage::new(5, 5), 0), RgbImage::new(0, 0));
    }
}
