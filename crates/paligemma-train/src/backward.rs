//! One backward pass over a batch, with memory that is bounded where it would grow.

use std::ops::Range;

use burn::module::AutodiffModule;
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{FloatDType, Tensor};
use paligemma::Model;
use paligemma_gemma::Gemma;
use paligemma_nn::{Dropout, NnBackend};

use crate::batch::Targets;
use crate::gradients::{Gradients, leaves};
use crate::loss::{answer_loss, predicting};
use crate::pieces::{Inputs, Piece, cuts, forward, pieces};
use crate::{Loss, Rows};

/// Logits that are held at a time: 128 MiB in f32, for 130 answer tokens over the published
/// vocabulary.
pub(crate) const LOGITS: usize = 1 << 25;

/// How the gradients of a batch are computed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backward {
    /// What is minimised.
    pub loss: Loss,
    /// What the decoder's residual branches drop.
    pub dropout: Option<Dropout>,
    /// Keep only what goes into each layer and compute the layer again on the way back: time for
    /// memory (gradient checkpointing).
    pub recompute: bool,
    /// What activations and gradients are computed in; parameters and sums stay as they are.
    pub dtype: FloatDType,
}

impl Default for Backward {
    fn default() -> Self {
        Self { loss: Loss::default(), dropout: None, recompute: false, dtype: FloatDType::F32 }
    }
}

/// A batch on a device.
#[derive(Clone, Debug)]
pub struct Batch<B: NnBackend> {
    /// All pictures, `[I, 3, H, W]` in -1..1.
    pub pixels: Tensor<B, 4>,
    /// What is asked about them, and the answers.
    pub rows: Rows,
    /// The padding token.
    pub pad: u32,
}

impl Backward {
    /// The loss of a batch and its gradients for every trained parameter of `model`.
    ///
    /// Parts without trained parameters before them are computed without a graph. The head is
    /// passed by some answer tokens at a time, so that the logits held at once are bounded; the
    /// gradient that they leave at the hidden states starts the way back through the rest.
    pub fn run<A>(self, model: &Model<A>, batch: &Batch<A::InnerBackend>) -> (f64, Gradients)
    where
        A: NnBackend + AutodiffBackend,
        A::InnerBackend: NnBackend,
    {
        let leaves = leaves(model.clone(), self.dtype);
        let inner = leaves.valid();
        let count = inner.vision_tower().embeddings().patches();
        let pixels = batch.pixels.clone().cast(self.dtype);
        let Batch { rows, pad, .. } = batch;
        let chain = Chain {
            pieces: pieces(&inner),
            plain: Inputs::new(&inner, pixels.clone(), rows, count, *pad),
            traced: Inputs::new(&leaves, Tensor::from_inner(pixels), rows, count, *pad),
            inner,
            leaves,
            rows,
            dropout: self.dropout,
        };
        self.descend(&chain, &rows.targets(count, self.loss.mean))
    }

    fn descend<A>(self, chain: &Chain<'_, A>, targets: &Targets) -> (f64, Gradients)
    where
        A: NnBackend + AutodiffBackend,
        A::InnerBackend: NnBackend,
    {
        let mut cuts = cuts(&chain.pieces, &chain.leaves, self.recompute);
        let last = cuts.pop();
        let first = cuts.first().or(last.as_ref()).map_or(chain.pieces.len(), |cut| cut.start);
        let mut x = chain.forward(0..first, None);
        let mut inputs = Vec::with_capacity(cuts.len());
        for cut in &cuts {
            inputs.push(x.clone());
            x = chain.forward(cut.clone(), x);
        }
        let Some(last) = last else {
            let hidden = predicting(x.expect("a model has pieces"), targets);
            let (loss, gradients, _) = self.head(chain.leaves.language_model(), &hidden, targets);
            return (loss, gradients);
        };

        let graph = chain.graph(last, x, !cuts.is_empty());
        let hidden = predicting(graph.output.clone(), targets);
        let (loss, mut gradients, slope) =
            self.head(chain.leaves.language_model(), &hidden.clone().inner(), targets);
        let mut found = (hidden * Tensor::from_inner(slope)).sum().backward();
        let mut slope = graph.input.and_then(|input| input.grad_remove(&mut found));
        gradients.add(&mut found, &chain.leaves);
        for (cut, x) in cuts.into_iter().zip(inputs).rev() {
            let Some(known) = slope else { break };
            let graph = chain.graph(cut.clone(), x, cut.start > first);
            let mut found = (graph.output * Tensor::from_inner(known)).sum().backward();
            slope = graph.input.and_then(|input| input.grad_remove(&mut found));
            gradients.add(&mut found, &chain.leaves);
        }
        (loss, gradients)
    }

    /// The loss, the gradients of the last norm and the head, and that of `hidden`.
    ///
    /// # Shapes
    /// - `hidden` and its gradient: `[T, D]`, before the last norm
    fn head<A>(
        self,
        decoder: &Gemma<A>,
        hidden: &Tensor<A::InnerBackend, 2>,
        targets: &Targets,
    ) -> (f64, Gradients, Tensor<A::InnerBackend, 2>)
    where
        A: NnBackend + AutodiffBackend,
        A::InnerBackend: NnBackend,
    {
        let total = targets.tokens.len();
        let at_a_time = (LOGITS / decoder.embed_tokens().dims()[0]).max(1);
        let (mut value, mut gradients, mut slopes) = (0.0, Gradients::default(), Vec::new());
        for start in (0..total).step_by(at_a_time) {
            let part = start..(start + at_a_time).min(total);
            let decoder = leaves(decoder.clone(), self.dtype);
            let hidden = Tensor::<A, 2>::from_inner(hidden.clone().slice([part.clone()]));
            let hidden = hidden.require_grad();
            let normed = decoder.norm().forward(hidden.clone());
            let loss = answer_loss(&decoder, normed, &targets.part(part), self.loss);
            value += loss.clone().into_data().iter::<f64>().sum::<f64>();
            let mut found = loss.backward();
            slopes.push(hidden.grad_remove(&mut found).expect("the loss depends on it"));
            gradients.add(&mut found, &decoder);
        }
        (value, gradients, Tensor::cat(slopes, 0))
    }
}

/// The model as it is computed for one batch, with and without a graph.
struct Chain<'a, A>
where
    A: NnBackend + AutodiffBackend,
    A::InnerBackend: NnBackend,
{
    pieces: Vec<Piece>,
    leaves: Model<A>,
    inner: Model<A::InnerBackend>,
    plain: Inputs<A::InnerBackend>,
    traced: Inputs<A>,
    rows: &'a Rows,
    dropout: Option<Dropout>,
}

/// A part that was computed with a graph.
struct Graph<A: NnBackend + AutodiffBackend> {
    /// What went in, if its gradient is wanted.
    input: Option<Tensor<A, 3>>,
    output: Tensor<A, 3>,
}

impl<A> Chain<'_, A>
where
    A: NnBackend + AutodiffBackend,
    A::InnerBackend: NnBackend,
{
    /// Computes pieces without a graph.
    fn forward(
        &self,
        range: Range<usize>,
        x: Option<Tensor<A::InnerBackend, 3>>,
    ) -> Option<Tensor<A::InnerBackend, 3>> {
        let pieces = &self.pieces[range];
        forward(pieces, &self.inner, &self.plain, self.rows, self.dropout, x)
    }

    /// Computes pieces with a graph.
    fn graph(
        &self,
        range: Range<usize>,
        x: Option<Tensor<A::InnerBackend, 3>>,
        descends: bool,
    ) -> Graph<A> {
        let input = x.map(|x| Tensor::<A, 3>::from_inner(x).set_require_grad(descends));
        let pieces = &self.pieces[range];
        let output =
            forward(pieces, &self.leaves, &self.traced, self.rows, self.dropout, input.clone());
        Graph {
            input: input.filter(|_| descends),
            output: output.expect("a graph has at least one piece"),
        }
    }
}
