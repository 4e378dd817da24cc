//! COCO's run lengths of a mask, as numbers and as the string of `pycocotools`.
//!
//! Format: `common/maskApi.c` of <https://github.com/cocodataset/cocoapi>. Pixels are counted down
//! the columns; the first run is of pixels outside the thing.

use thiserror::Error;

use crate::bitmap::Bitmap;
use crate::picture::MAX_SIDE;

/// A mask as lengths of runs of equal pixels, alternately outside and inside the thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rle {
    /// Height and width of the picture, in COCO's order.
    pub size: [u32; 2],
    /// The lengths; the first is 0 if the first pixel is inside.
    pub counts: Vec<u32>,
}

/// Why run lengths are no mask.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum RleError {
    /// The picture is larger than any that is read.
    #[error("a mask of {} x {} pixels is too large: the limit is {MAX_SIDE}", size[1], size[0])]
    Size {
        /// Height and width.
        size: [u32; 2],
    },
    /// The runs are not as many pixels as the picture has.
    #[error("the runs are {found} pixels, the picture has {expected}")]
    Length {
        /// Pixels of the picture.
        expected: u64,
        /// Pixels of all runs.
        found: u64,
    },
    /// A character that no string of run lengths has, or too many or too few of them.
    #[error("the string of run lengths is damaged at byte {at}")]
    Text {
        /// Where.
        at: usize,
    },
}

/// Bits of a number that one character holds.
const BITS: u32 = 5;
/// Set in a character when others of the same number follow.
const MORE: u8 = 1 << BITS;
/// The character of zero.
const ZERO: u8 = b'0';
/// Characters of the largest number that is read.
const LONGEST: u32 = 7;

impl Rle {
    /// The run lengths of a mask.
    pub fn of(mask: &Bitmap) -> Self {
        let (width, height) = mask.dimensions();
        let mut counts = Vec::new();
        let (mut inside, mut count) = (false, 0);
        for (x, y) in (0..width).flat_map(|x| (0..height).map(move |y| (x, y))) {
            if mask.get(x, y) != inside {
                counts.push(count);
                (inside, count) = (!inside, 0);
            }
            count += 1;
        }
        counts.push(count);
        Self { size: [height, width], counts }
    }

    /// The mask.
    ///
    /// # Errors
    /// If the runs are not as many pixels as the picture has.
    pub fn bitmap(&self) -> Result<Bitmap, RleError> {
        let size @ [height, width] = self.size;
        if size.iter().any(|&side| side > MAX_SIDE) {
            return Err(RleError::Size { size });
        }
        let expected = u64::from(height) * u64::from(width);
        let found = self.counts.iter().map(|&count| u64::from(count)).sum();
        if found != expected {
            return Err(RleError::Length { expected, found });
        }
        let mut columns = Vec::with_capacity(expected as usize);
        for (&count, inside) in self.counts.iter().zip([false, true].into_iter().cycle()) {
            columns.resize(columns.len() + count as usize, inside);
        }
        let at = |x: u32, y: u32| columns[x as usize * height as usize + y as usize];
        Ok(Bitmap::from_fn(width, height, at))
    }

    /// The string of `pycocotools`: the difference of each length to the one before the last, but
    /// for the first three, in characters of five bits from the lowest up.
    pub fn compressed(&self) -> String {
        let mut text = String::new();
        for (index, &count) in self.counts.iter().enumerate() {
            let before = if index > 2 { self.counts[index - 2] } else { 0 };
            let mut rest = i64::from(count) - i64::from(before);
            loop {
                let bits = (rest & i64::from(MORE - 1)) as u8;
                rest >>= BITS;
                // The highest bit of the last character is the sign of the number.
                let negative = bits & (MORE >> 1) != 0;
                let last = rest == if negative { -1 } else { 0 };
                text.push(char::from(ZERO + bits + if last { 0 } else { MORE }));
                if last {
                    break;
                }
            }
        }
        text
    }

    /// Reads the string of `pycocotools` for a picture of this height and width.
    ///
    /// # Errors
    /// If the string is damaged.
    pub fn from_compressed(size: [u32; 2], text: &str) -> Result<Self, RleError> {
        let mut counts: Vec<u32> = Vec::new();
        let (mut value, mut length) = (0_i64, 0);
        for (at, byte) in text.bytes().enumerate() {
            let damaged = RleError::Text { at };
            let bits = byte.checked_sub(ZERO).filter(|&bits| bits < 2 * MORE && length < LONGEST);
            let Some(bits) = bits else { return Err(damaged) };
            value |= i64::from(bits & (MORE - 1)) << (BITS * length);
            length += 1;
            if bits & MORE != 0 {
                continue;
            }
            if bits & (MORE >> 1) != 0 {
                value |= -1 << (BITS * length);
            }
            let before = if counts.len() > 2 { counts[counts.len() - 2] } else { 0 };
            counts.push(u32::try_from(value + i64::from(before)).map_err(|_| damaged)?);
            (value, length) = (0, 0);
        }
        if length > 0 {
            return Err(RleError::Text { at: text.len() });
        }
        Ok(Self { size, counts })
    }
}
