//! The model cut into pieces that can be computed, and computed again, one after the other.

use std::ops::Range;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Int, Tensor};
use paligemma::Model;
use paligemma_gemma::Pass;
use paligemma_nn::{Dropout, NnBackend};

use crate::Rows;

/// A piece of the model up to the norm after its last layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Pixels to patch vectors.
    Patches,
    /// A layer of the vision tower.
    VisionLayer(usize),
    /// The tower's last norm.
    VisionNorm,
    /// Features to the decoder's width, joined by the embeddings of the text.
    Join,
    /// A layer of the decoder.
    TextLayer(usize),
}

/// All pieces, in the order of computation.
pub(crate) fn pieces<B: NnBackend>(model: &Model<B>) -> Vec<Piece> {
    let vision = (0..model.vision_tower().layers().len()).map(Piece::VisionLayer);
    let text = (0..model.language_model().layers().len()).map(Piece::TextLayer);
    let first = std::iter::once(Piece::Patches).chain(vision);
    first.chain([Piece::VisionNorm, Piece::Join]).chain(text).collect()
}

/// What a batch gives to the pieces, on one backend.
pub(crate) struct Inputs<B: NnBackend> {
    /// `[I, 3, H, W]`.
    pub(crate) pixels: Tensor<B, 4>,
    /// `[B, T]`.
    pub(crate) ids: Tensor<B, 2, Int>,
    pub(crate) pass: Pass<B>,
}

impl<B: NnBackend> Inputs<B> {
    /// For a model whose pictures have `count` tokens.
    pub(crate) fn new(
        model: &Model<B>,
        pixels: Tensor<B, 4>,
        rows: &Rows,
        count: usize,
        pad: u32,
    ) -> Self {
        let device = pixels.device();
        let pass = model.language_model().pass(&rows.mask(count), 0, &device);
        Self { ids: rows.ids(pad, &device), pass, pixels }
    }
}

impl Piece {
    /// Computes this piece; `x` is what the one before gave, nothing for the first.
    ///
    /// # Shapes
    /// - `x` and output: `[I, N, D]` up to [`Piece::Join`], `[B, L, D]` from there on
    pub(crate) fn forward<B: NnBackend>(
        self,
        model: &Model<B>,
        inputs: &Inputs<B>,
        rows: &Rows,
        dropout: Option<Dropout>,
        x: Option<Tensor<B, 3>>,
    ) -> Tensor<B, 3> {
        let (tower, decoder) = (model.vision_tower(), model.language_model());
        let before = || x.expect("only the first piece has none before it");
        match self {
            Self::Patches => tower.embeddings().forward(inputs.pixels.clone()),
            Self::VisionLayer(i) => tower.layers()[i].forward(before()),
            Self::VisionNorm => tower.post_layernorm().forward(before()),
            Self::Join => {
                let features = model.projector().forward(before());
                model.embed(rows.features(features), inputs.ids.clone())
            }
            Self::TextLayer(i) => {
                let seeded = |dropout: Dropout| Dropout {
                    seed: dropout.seed.wrapping_add(i as u64),
                    ..dropout
                };
                let pass = inputs.pass.with_dropout(dropout.map(seeded));
                decoder.layers()[i].forward(before(), &pass, None)
            }
        }
    }

    /// Whether a parameter of this piece is trained.
    pub(crate) fn is_trained<B: NnBackend>(self, model: &Model<B>) -> bool {
        let (tower, decoder) = (model.vision_tower(), model.language_model());
        match self {
            Self::Patches => trains(tower.embeddings()),
            Self::VisionLayer(i) => trains(&tower.layers()[i]),
            Self::VisionNorm => trains(tower.post_layernorm()),
            Self::Join => trains(model.projector()) || trains(decoder.embed_tokens()),
            Self::TextLayer(i) => trains(&decoder.layers()[i]),
        }
    }
}

/// Computes several pieces, one after the other.
pub(crate) fn forward<B: NnBackend>(
    pieces: &[Piece],
    model: &Model<B>,
    inputs: &Inputs<B>,
    rows: &Rows,
    dropout: Option<Dropout>,
    x: Option<Tensor<B, 3>>,
) -> Option<Tensor<B, 3>> {
    pieces.iter().fold(x, |x, piece| Some(piece.forward(model, inputs, rows, dropout, x)))
}

/// How the trained part of `pieces` is cut: each cut is one graph.
pub(crate) fn cuts<B: NnBackend>(
    pieces: &[Piece],
    model: &Model<B>,
    recompute: bool,
) -> Vec<Range<usize>> {
    let Some(first) = pieces.iter().position(|piece| piece.is_trained(model)) else {
        return Vec::new();
    };
    if recompute {
        (first..pieces.len()).map(|i| i..i + 1).collect()
    } else {
        std::iter::once(first..pieces.len()).collect()
    }
}

/// Whether any parameter of `module` is trained.
pub(crate) fn trains<B: NnBackend, M: Module<B>>(module: &M) -> bool {
    struct Search(bool);

    impl<B: NnBackend> ModuleVisitor<B> for Search {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            self.0 |= param.val().is_require_grad();
        }
    }
    let mut search = Search(false);
    module.visit(&mut search);
    search.0
}
