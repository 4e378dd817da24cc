//! BLEU: runs of words that are also in a reference, with a penalty for short captions.

use super::Captions;
use super::ngrams::{LONGEST, count};
use crate::Text;

/// BLEU-1 to BLEU-4, 0..=1.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bleu {
    /// Of all captions as one text.
    pub corpus: [f64; LONGEST],
    /// Of each caption by itself.
    pub each: Vec<[f64; LONGEST]>,
}

/// What keeps divisors and products from being zero, as in the reference.
const SMALL: f64 = 1e-9;
const TINY: f64 = 1e-15;

/// What is added up over captions.
#[derive(Clone, Copy, Default)]
struct Totals {
    words: usize,
    reference_words: usize,
    guessed: [usize; LONGEST],
    right: [usize; LONGEST],
}

/// BLEU of captions (Papineni et al. 2002), with the reference length nearest to the caption's, as
/// pycocoevalcap has it (`bleu_scorer.py`, option `closest`). Every text must have a reference.
pub fn bleu(texts: &[Text]) -> Bleu {
    let each: Vec<Totals> = Captions::all(texts).iter().map(Totals::of).collect();
    let mut all = Totals::default();
    for one in &each {
        all.words += one.words;
        all.reference_words += one.reference_words;
        for n in 0..LONGEST {
            all.guessed[n] += one.guessed[n];
            all.right[n] += one.right[n];
        }
    }
    Bleu { corpus: all.scores(), each: each.iter().map(Totals::scores).collect() }
}

impl Totals {
    fn of(captions: &Captions) -> Self {
        let words = captions.prediction.len();
        let lengths = captions.references.iter().map(Vec::len);
        let nearest = lengths.min_by_key(|&length| (length.abs_diff(words), length));
        let references: Vec<_> = captions.references.iter().map(|words| count(words)).collect();
        let mut right = [0; LONGEST];
        for (run, times) in count(&captions.prediction) {
            let most = references.iter().filter_map(|counts| counts.get(run)).max();
            right[run.len() - 1] += times.min(most.copied().unwrap_or(0));
        }
        Self {
            words,
            reference_words: nearest.unwrap_or(0),
            guessed: std::array::from_fn(|n| words.saturating_sub(n)),
            right,
        }
    }

    fn scores(&self) -> [f64; LONGEST] {
        let ratio = (self.words as f64 + TINY) / (self.reference_words as f64 + SMALL);
        let penalty = if ratio < 1.0 { (1.0 - 1.0 / ratio).exp() } else { 1.0 };
        let mut product = 1.0;
        std::array::from_fn(|n| {
            product *= (self.right[n] as f64 + TINY) / (self.guessed[n] as f64 + SMALL);
            f64::powf(product, 1.0 / (n + 1) as f64) * penalty
        })
    }
}
