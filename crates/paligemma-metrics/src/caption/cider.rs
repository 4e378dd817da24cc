//! CIDEr-D: captions agree where they share runs of words that other pictures' captions do not have.

use std::collections::{BTreeMap, BTreeSet};

use super::Captions;
use super::ngrams::{LONGEST, count};
use crate::Text;

/// CIDEr-D; 1 is what published tables have as 100, and 10 the most.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cider {
    /// The mean.
    pub mean: f64,
    /// Of each caption.
    pub each: Vec<f64>,
}

/// Captions that differ by this many words are punished by a factor of exp(-1/2).
const SIGMA: f64 = 6.0;

/// How rare runs of words are among the pictures.
struct Rarity<'a> {
    /// In the references of how many pictures a run occurs.
    pictures: BTreeMap<&'a [String], usize>,
    /// The logarithm of the number of pictures.
    all: f64,
}

/// A caption as counts of runs weighed by their rarity, for each length of run.
#[derive(Default)]
struct Weighed<'a> {
    weights: [BTreeMap<&'a [String], f64>; LONGEST],
    norms: [f64; LONGEST],
    /// Runs of two words, which the reference takes for the length.
    pairs: usize,
}

/// CIDEr-D of captions (Vedantam et al. 2015, <https://arxiv.org/abs/1411.5726>, sections 3 and 6), as
/// pycocoevalcap has it (`cider_scorer.py`). Every text must have a reference; rarity is that among the
/// references of these texts, so that a single text has a score of 0.
pub fn cider(texts: &[Text]) -> Cider {
    let captions = Captions::all(texts);
    let rarity = Rarity::of(&captions);
    let each: Vec<f64> = captions.iter().map(|captions| score(captions, &rarity)).collect();
    Cider { mean: each.iter().sum::<f64>() / each.len().max(1) as f64, each }
}

fn score(captions: &Captions, rarity: &Rarity) -> f64 {
    let prediction = rarity.weigh(&captions.prediction);
    let agreements = captions.references.iter().map(|words| {
        let reference = rarity.weigh(words);
        prediction.agreement(&reference)
    });
    10.0 * agreements.sum::<f64>() / captions.references.len().max(1) as f64
}

impl<'a> Rarity<'a> {
    fn of(captions: &'a [Captions]) -> Self {
        let mut pictures = BTreeMap::new();
        for Captions { references, .. } in captions {
            let runs: BTreeSet<&[String]> =
                references.iter().flat_map(|words| count(words).into_keys()).collect();
            for run in runs {
                *pictures.entry(run).or_default() += 1;
            }
        }
        Self { pictures, all: (captions.len() as f64).ln() }
    }

    fn weigh<'b>(&self, words: &'b [String]) -> Weighed<'b> {
        let mut weighed = Weighed::default();
        for (run, times) in count(words) {
            let pictures = self.pictures.get(run).copied().unwrap_or(1);
            let weight = times as f64 * (self.all - (pictures as f64).ln());
            let n = run.len() - 1;
            weighed.weights[n].insert(run, weight);
            weighed.norms[n] += weight * weight;
            if run.len() == 2 {
                weighed.pairs += times;
            }
        }
        weighed.norms = weighed.norms.map(f64::sqrt);
        weighed
    }
}

impl Weighed<'_> {
    /// The mean over lengths of runs of the cosine of the angle to a reference, the caption's weights
    /// cut down to the reference's, less what a difference in length costs.
    fn agreement(&self, reference: &Self) -> f64 {
        let further = self.pairs.abs_diff(reference.pairs) as f64;
        let penalty = (-(further * further) / (2.0 * SIGMA * SIGMA)).exp();
        let cosine = |n: usize| {
            let other = &reference.weights[n];
            let shared = self.weights[n].iter().map(|(run, weight)| {
                let other = other.get(run).copied().unwrap_or(0.0);
                weight.min(other) * other
            });
            let product = self.norms[n] * reference.norms[n];
            let shared: f64 = shared.sum();
            if product > 0.0 { shared / product } else { shared }
        };
        (0..LONGEST).map(cosine).sum::<f64>() * penalty / LONGEST as f64
    }
}
