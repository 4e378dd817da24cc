//! The choice of the next token from its logits.

use paligemma_nn::{log_sum_exp, maximum};
use rand::distr::Distribution;
use rand::distr::weighted::WeightedIndex;
use rand_chacha::ChaCha8Rng;

use crate::Error;

/// How the next token is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Sampling {
    /// The most probable token.
    #[default]
    Greedy,
    /// A draw from the probabilities.
    Random {
        /// Divides the logits; above 0.
        temperature: f32,
        /// Draws from this many most probable tokens only.
        top_k: Option<usize>,
        /// Draws from the most probable tokens that together reach this probability, 0..=1.
        top_p: Option<f32>,
    },
}

impl Sampling {
    pub(crate) fn check(&self) -> Result<(), Error> {
        let Self::Random { temperature, top_k, top_p } = *self else { return Ok(()) };
        let wrong = |option, value: String, range| Err(Error::Sampling { option, value, range });
        if !(temperature > 0.0 && temperature.is_finite()) {
            return wrong("temperature", temperature.to_string(), "finite and above 0");
        }
        if top_k == Some(0) {
            return wrong("top-k", "0".into(), "at least 1");
        }
        if let Some(p) = top_p.filter(|p| !(*p > 0.0 && *p <= 1.0)) {
            return wrong("top-p", p.to_string(), "above 0 and at most 1");
        }
        Ok(())
    }

    /// The chosen token; the logits must be finite.
    pub(crate) fn choose(&self, logits: &[f32], random: &mut ChaCha8Rng) -> u32 {
        match *self {
            Self::Greedy => highest(logits),
            Self::Random { temperature, top_k, top_p } => {
                let likely = likely(logits, temperature, top_k, top_p);
                let weights = WeightedIndex::new(likely.iter().map(|(_, weight)| *weight));
                weights.map_or_else(|_| highest(logits), |w| likely[w.sample(random)].0)
            }
        }
    }
}

/// The first token of those with the highest logit; logits must be finite.
pub fn highest(logits: &[f32]) -> u32 {
    let top = maximum(logits);
    logits.iter().position(|logit| *logit >= top).unwrap_or(0) as u32
}

/// Tokens to draw from, most probable first, with their unnormalised probabilities.
fn likely(
    logits: &[f32],
    temperature: f32,
    top_k: Option<usize>,
    top_p: Option<f32>,
) -> Vec<(u32, f32)> {
    let mut order: Vec<u32> = (0..logits.len() as u32).collect();
    let descending =
        |a: &u32, b: &u32| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b));
    if let Some(k) = top_k.filter(|&k| k < order.len()) {
        order.select_nth_unstable_by(k - 1, descending);
        order.truncate(k);
    }
    order.sort_unstable_by(descending);
    let top = order.first().map_or(0.0, |&token| logits[token as usize]);
    let mut likely: Vec<(u32, f32)> = order
        .into_iter()
        .map(|token| (token, ((logits[token as usize] - top) / temperature).exp()))
        .collect();
    if let Some(p) = top_p {
        let mut left = p * likely.iter().map(|(_, weight)| weight).sum::<f32>();
        let kept = likely.iter().take_while(|(_, weight)| {
            let keep = left > 0.0;
            left -= weight;
            keep
        });
        let kept = kept.count().max(1);
        likely.truncate(kept);
    }
    likely
}

/// The log-probability of `token`.
pub(crate) fn log_probability(logits: &[f32], token: u32) -> f32 {
    log_probabilities(logits)(token)
}

/// The log-probabilities of tokens with these logits.
pub(crate) fn log_probabilities(logits: &[f32]) -> impl Fn(u32) -> f32 {
    let sum = log_sum_exp(logits);
    move |token| (f64::from(logits[token as usize]) - sum) as f32
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    const LOGITS: [f32; 5] = [0.5, 2.0, -1.0, 2.0, 1.0];

    fn random(top_k: Option<usize>, top_p: Option<f32>) -> Sampling {
        Sampling::Random { temperature: 1.0, top_k, top_p }
    }

    fn draws(sampling: Sampling) -> Vec<usize> {
        let mut random = ChaCha8Rng::seed_from_u64(3);
        let mut counts = vec![0; LOGITS.len()];
        for _ in 0..20_000 {
            counts[sampling.choose(&LOGITS, &mut random) as usize] += 1;
        }
        counts
    }

    #[test]
    fn greedy_takes_the_first_of_the_highest() {
        assert_eq!(Sampling::Greedy.choose(&LOGITS, &mut ChaCha8Rng::seed_from_u64(0)), 1);
    }

    #[test]
    fn draws_follow_the_probabilities() {
        let total: f32 = LOGITS.iter().map(|logit| logit.exp()).sum();
        for (count, logit) in draws(random(None, None)).into_iter().zip(LOGITS) {
            let (share, expected) = (count as f32 / 20_000.0, logit.exp() / total);
            assert!((share - expected).abs() < 0.015, "{share} is far from {expected}");
        }
    }

    #[test]
    fn top_k_and_top_p_cut_the_tail() {
        assert!(
            draws(random(Some(2), None))
                .iter()
                .enumerate()
                .all(|(i, &n)| (n > 0) == (i == 1 || i == 3))
        );
        // 1 and 3 have 0.72 together, so a third is needed for 0.8.
        let counts = draws(random(None, Some(0.8)));
        assert!(counts[4] > 0 && counts[0] == 0 && counts[2] == 0);
    }

    #[test]
    fn options_out_of_range_are_refused() {
        for (temperature, top_k, top_p) in [
            (0.0, None, None),
            (f32::NAN, None, None),
            (1.0, Some(0), None),
            (1.0, None, Some(1.5)),
        ] {
            assert!(Sampling::Random { temperature, top_k, top_p }.check().is_err());
        }
    }

    #[test]
    fn log_probabilities_sum_to_one() {
        let sum: f32 = (0..5).map(|token| log_probability(&LOGITS, token).exp()).sum();
        assert!((sum - 1.0).abs() < 1e-6);
    }
}
