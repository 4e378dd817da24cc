//! The cases of the table, by name; none of them knows a backend.

use std::fmt;

use paligemma::Dtype;
use paligemma_nn::NnBackend;

use super::{
    Bench, Measured, beams, decoding, gradients, layout, masks, properties, training, values,
};
use crate::reference::Tiny;

/// One row of the table. The letters are the golden cases, as their maker calls them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// Masks and positions of every golden case.
    Layout,
    /// Every intermediate value of a golden case.
    Values(&'static str),
    /// The relative error of every intermediate value of a golden case.
    Layers(&'static str),
    /// The vector that stands for each picture of a golden case.
    Embedding(&'static str),
    /// Logits of a golden case.
    Logits(&'static str),
    /// A causal prefix gives the reference's wrong logits, and the prefix mask does not.
    CausalPrefix,
    /// Loss and log-probabilities of the answers of a golden case.
    Loss(&'static str),
    /// Gradients of the training loss for every parameter.
    Gradients,
    /// Log-probabilities of an answer, token by token and in one pass.
    Score,
    /// Greedy decoding: tokens and logits of every step.
    Greedy(&'static str),
    /// Greedy decoding that may end with `<eos>`.
    GreedyEos,
    /// Beam search: tokens and scores of the answers of a golden case.
    Beams(&'static str),
    /// Beam searches whose answers end early.
    BeamsEnding,
    /// Every row of a ragged batch is what it is alone.
    BatchRows,
    /// The same for a row without a picture.
    NoPicture,
    /// Decoding with the cache is computing everything again.
    Cached,
    /// Continuations of one prompt, side by side, are what they are alone.
    Forked,
    /// The mask VQ-VAE: vectors, codes and masks.
    Masks,
}

impl Case {
    /// Every case of a golden model, in the order of the table. What masks are made of codes is the
    /// same in both generations.
    pub fn all(golden: Tiny) -> Vec<Self> {
        let mut cases = vec![Self::Layout];
        cases.extend(["a", "b", "d"].map(Self::Values));
        cases.push(Self::Layers("a"));
        cases.extend(["a", "d"].map(Self::Embedding));
        let logits =
            ["a", "b", "b_batch_left", "b_batch_right", "c_left", "c_right", "c_single2", "d"];
        cases.extend(logits.map(Self::Logits));
        cases.push(Self::CausalPrefix);
        cases.extend(["b", "b_batch_left", "b_batch_right"].map(Self::Loss));
        cases.extend([Self::Gradients, Self::Score]);
        let greedy = ["e_greedy", "e_greedy_single2", "e_greedy_batch_left", "e_greedy_two_images"];
        cases.extend(greedy.map(Self::Greedy));
        cases.push(Self::GreedyEos);
        cases.extend(["e_beam3", "e_beam3_all", "e_beam3_eos"].map(Self::Beams));
        cases.extend([Self::BeamsEnding, Self::BatchRows, Self::NoPicture]);
        cases.extend([Self::Cached, Self::Forked]);
        cases.extend((golden == Tiny::Gemma).then_some(Self::Masks));
        cases
    }

    /// Why the case says nothing in `dtype`, if it does not.
    pub fn skipped_in(self, dtype: Dtype) -> Option<&'static str> {
        if dtype == Dtype::F32 {
            return None;
        }
        match self {
            Self::Layout => Some("is not computed in floating point; f32 shows it"),
            Self::Values(_) => Some("has no limit but in f32; the errors per layer have"),
            Self::CausalPrefix => Some("is a question of the mask; f32 answers it"),
            Self::Gradients => Some("training is in f32"),
            Self::Masks => Some("is computed in f32, whatever the model is held in"),
            Self::Loss(_) | Self::Score => Some("follows from the logits, which are compared"),
            Self::Greedy(_) | Self::GreedyEos | Self::Beams(_) | Self::BeamsEnding => {
                Some("rounding may rightly swap tokens of almost equal logits")
            }
            Self::Logits(case) if case != "a" => {
                Some("what rounding costs the reference is known for `a` alone")
            }
            Self::Layers(_)
            | Self::Embedding(_)
            | Self::Logits(_)
            | Self::BatchRows
            | Self::NoPicture
            | Self::Cached
            | Self::Forked => None,
        }
    }

    /// Measures the case.
    pub(crate) fn measure<B: NnBackend>(self, bench: &Bench<B>) -> Vec<Measured> {
        match self {
            Self::Layout => layout::measure(bench),
            Self::Values(case) => values::intermediate(bench, case),
            Self::Layers(case) => values::layers(bench, case),
            Self::Embedding(case) => values::embedding(bench, case),
            Self::Logits(case) => values::logits(bench, case),
            Self::CausalPrefix => values::causal_prefix(bench),
            Self::Loss(case) => training::loss(bench, case),
            Self::Gradients => gradients::measure(bench),
            Self::Score => decoding::score(bench),
            Self::Greedy(case) => decoding::greedy(bench, case),
            Self::GreedyEos => decoding::greedy_eos(bench),
            Self::Beams(case) => beams::golden(bench, case),
            Self::BeamsEnding => beams::ending(bench),
            Self::BatchRows => properties::batch_rows(bench),
            Self::NoPicture => properties::no_picture(bench),
            Self::Cached => properties::cached(bench),
            Self::Forked => properties::forked(bench),
            Self::Masks => masks::measure(bench),
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Layout => f.write_str("masks and positions"),
            Self::Values(case) => write!(f, "{case}: every value"),
            Self::Layers(case) => write!(f, "{case}: relative, per layer"),
            Self::Embedding(case) => write!(f, "{case}: embedding"),
            Self::Logits(case) => write!(f, "{case}: logits"),
            Self::CausalPrefix => f.write_str("a_no_tt: is not ours"),
            Self::Loss(case) => write!(f, "{case}: loss"),
            Self::Gradients => f.write_str("gradients"),
            Self::Score => f.write_str("f: log-probabilities"),
            Self::Greedy(case) | Self::Beams(case) => f.write_str(case),
            Self::GreedyEos => f.write_str("e_greedy_eos"),
            Self::BeamsEnding => f.write_str("beams that end early"),
            Self::BatchRows => f.write_str("batch row = alone"),
            Self::NoPicture => f.write_str("batch row, no picture"),
            Self::Cached => f.write_str("cached = uncached"),
            Self::Forked => f.write_str("forked = alone"),
            Self::Masks => f.write_str("mask VQ-VAE"),
        }
    }
}
