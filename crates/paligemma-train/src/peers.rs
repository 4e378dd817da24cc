//! Workers that train one model together: sums over all of them, by burn's collectives.

#[cfg(not(feature = "distributed"))]
#[path = "peers/alone.rs"]
mod collective;
#[cfg(feature = "distributed")]
mod collective;

use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use thiserror::Error;

/// Numbers that are summed at a time, which bounds the copies that are made: 64 MiB.
const BUCKET: usize = 1 << 24;

/// Which of several workers one is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peers {
    rank: usize,
    count: usize,
}

/// Why workers cannot go on together.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PeersError {
    /// The build has no collectives.
    #[error("this build trains with one worker: build with `--features distributed`")]
    NotInBuild,
    /// Workers that do not do the same.
    #[error(
        "the workers differ in {what}: give all of them the same data, model and options, and the \
         same run to go on with"
    )]
    Differ {
        /// In what.
        what: &'static str,
    },
    /// Another worker failed.
    #[error("another worker failed, and says why; the last checkpoint is from before")]
    Another,
    /// The collective.
    #[error("the workers lost each other: {0}")]
    Collective(String),
}

impl Peers {
    /// Refuses several workers where the build has no collectives.
    ///
    /// # Errors
    /// If there are several.
    pub fn check(&self) -> Result<(), PeersError> {
        let refused = cfg!(not(feature = "distributed")) && self.count() > 1;
        if refused { Err(PeersError::NotInBuild) } else { Ok(()) }
    }

    /// The worker `rank`, from 0, of `count`, which are threads of this process.
    pub fn new(rank: usize, count: usize) -> Self {
        Self { rank, count }
    }

    /// One worker, who asks nobody.
    pub fn alone() -> Self {
        Self::new(0, 1)
    }

    /// How many workers there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Which of the workers this is, from 0. The first writes what there is to write.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// The sums of a few numbers, in f32.
    pub(crate) fn sum_numbers<B: Backend>(
        &self,
        numbers: &[f64],
        device: &B::Device,
    ) -> Result<Vec<f64>, PeersError> {
        if self.count() == 1 {
            return Ok(numbers.to_vec());
        }
        let numbers: Vec<f32> = numbers.iter().map(|&number| number as f32).collect();
        let numbers = TensorData::new(numbers.clone(), [numbers.len()]);
        let sums = self.sum(Tensor::<B, 1>::from_data(numbers, device))?;
        Ok(sums.into_data().iter::<f64>().collect())
    }

    /// Whether any worker says so.
    pub(crate) fn any<B: Backend>(
        &self,
        here: bool,
        device: &B::Device,
    ) -> Result<bool, PeersError> {
        let sums = self.sum_numbers::<B>(&[f64::from(u8::from(here))], device)?;
        Ok(sums.iter().any(|&sum| sum > 0.0))
    }

    /// Refuses workers whose number for `what` is another.
    pub(crate) fn same<B: Backend>(
        &self,
        what: &'static str,
        number: u64,
        device: &B::Device,
    ) -> Result<(), PeersError> {
        // Sums of f32 are exact for parts of so few bits, and for their squares.
        let parts: Vec<f64> = (0..8).map(|at| ((number >> (8 * at)) & 0xff) as f64).collect();
        let squares = parts.iter().map(|part| part * part);
        let sums = self
            .sum_numbers::<B>(&parts.iter().copied().chain(squares).collect::<Vec<_>>(), device)?;
        let count = self.count() as f64;
        let (means, squares) = sums.split_at(parts.len());
        // All parts are the same where the mean of the squares is the square of the mean.
        let differs =
            means.iter().zip(squares).any(|(sum, square)| (square * count - sum * sum).abs() > 0.5);
        if differs { Err(PeersError::Differ { what }) } else { Ok(()) }
    }

    /// The sums of many tensors over all workers, so many at a time that copies stay small.
    pub(crate) fn sum_all<B: Backend>(
        &self,
        tensors: Vec<Tensor<B, 1>>,
    ) -> Result<Vec<Tensor<B, 1>>, PeersError> {
        if self.count() == 1 {
            return Ok(tensors);
        }
        let lengths: Vec<usize> = tensors.iter().map(|tensor| tensor.dims()[0]).collect();
        let mut sums = Vec::with_capacity(tensors.len());
        let mut waiting = tensors.into_iter();
        for group in groups(&lengths) {
            let some: Vec<_> = waiting.by_ref().take(group.len()).collect();
            let joined = if some.len() == 1 { some[0].clone() } else { Tensor::cat(some, 0) };
            let total = joined.dims()[0];
            let parts = (0..total).step_by(BUCKET).map(|start| {
                let part = joined.clone().narrow(0, start, BUCKET.min(total - start));
                self.sum(part)
            });
            let summed = Tensor::cat(parts.collect::<Result<Vec<_>, _>>()?, 0);
            let mut start = 0;
            for &length in group {
                sums.push(summed.clone().narrow(0, start, length));
                start += length;
            }
        }
        Ok(sums)
    }
}

/// Lengths that follow each other, as many together as are summed at a time, but one at least.
fn groups(lengths: &[usize]) -> impl Iterator<Item = &[usize]> {
    let mut rest = lengths;
    std::iter::from_fn(move || {
        let mut sum = 0;
        let fit = rest.iter().take_while(|&&length| {
            sum += length;
            sum <= BUCKET
        });
        let (group, others) = rest.split_at(fit.count().max(1).min(rest.len()));
        rest = others;
        (!group.is_empty()).then_some(group)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_hold_what_fits_and_no_tensor_is_left_out() {
        let half = BUCKET / 2;
        let lengths = [half, half, 1, 3 * BUCKET, 7];
        let groups: Vec<&[usize]> = groups(&lengths).collect();
        assert_eq!(groups, [&lengths[..2], &lengths[2..3], &lengths[3..4], &lengths[4..]]);
    }
}
