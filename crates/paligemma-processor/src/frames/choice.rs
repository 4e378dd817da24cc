//! Which frames of a clip are looked at.

use super::ClipError;

/// Frames that are looked at where no number is given, as in the published transfers to videos.
pub const DEFAULT_FRAMES: usize = 16;

/// How frames are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameChoice {
    /// How many; [`DEFAULT_FRAMES`], or all of a shorter clip, if not given.
    pub count: Option<usize>,
    /// Frames from one chosen frame to the next; evenly over the whole clip if not given.
    pub stride: Option<usize>,
}

impl FrameChoice {
    /// The places of the chosen frames, which count from zero and ascend, in a clip of `total`.
    ///
    /// * Without a stride the clip is cut into `count` equal parts, and the frame at the middle of
    ///   each is taken: frame `i` is `floor((2 i + 1) total / (2 count))`.
    /// * With a stride `s` frame `i` is `i s`, from the first frame on, as in the evaluations of
    ///   the published transfers to videos (big_vision
    ///   `configs/proj/paligemma/transfers/msrvtt_cap.py`: 16 frames at a stride of 9). Those
    ///   repeat the frames of a clip that is too short; here that is an error.
    ///
    /// A stride of zero is taken as one.
    ///
    /// # Errors
    /// [`ClipError::TooFew`] if `count` is given and the clip has fewer such frames.
    pub fn of(self, total: usize) -> Result<Vec<usize>, ClipError> {
        let stride = self.stride.map(|stride| stride.max(1));
        let there = total.div_ceil(stride.unwrap_or(1));
        let count = self.count.unwrap_or(DEFAULT_FRAMES.min(there));
        if count > there {
            return Err(ClipError::TooFew { asked: count, there, stride: self.stride });
        }
        let place = |i: usize| match stride {
            Some(stride) => i * stride,
            None => (2 * i + 1) * total / (2 * count),
        };
        Ok((0..count).map(place).collect())
    }
}
