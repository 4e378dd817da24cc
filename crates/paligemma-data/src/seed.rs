//! Chance that repeats: a random generator for every use of an example.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// Says which chance it is: that of an example in an epoch of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    /// The seed of the run.
    pub seed: u64,
    /// The epoch, from zero.
    pub epoch: u64,
    /// The place of the example in the data, from zero, however it is shuffled.
    pub index: u64,
}

impl Use {
    /// The generator of this use, the same whenever it is asked for: a run that is taken up again
    /// goes on as if it had never ended.
    pub fn generator(self) -> ChaCha8Rng {
        let mut seed = [0; 32];
        for (part, number) in seed.chunks_exact_mut(8).zip([self.seed, self.epoch, self.index]) {
            part.copy_from_slice(&number.to_le_bytes());
        }
        ChaCha8Rng::from_seed(seed)
    }
}

#[cfg(test)]
mod tests {
    use rand::RngCore;

    use super::*;

    #[test]
    fn uses_differ_and_repeat() {
        let draw = |seed, epoch, index| Use { seed, epoch, index }.generator().next_u64();
        assert_eq!(draw(1, 2, 3), draw(1, 2, 3));
        let all = [draw(1, 2, 3), draw(2, 1, 3), draw(3, 2, 1), draw(1, 3, 2), draw(0, 0, 0)];
        assert!(all.iter().enumerate().all(|(at, value)| !all[..at].contains(value)));
    }
}
