//! What a stage trains: the model, and in some stages a pointer that is thrown away afterwards.

use burn::module::{AutodiffModule, Module};
use burn::tensor::activation::{relu, softplus};
use burn::tensor::{Tensor, TensorData};
use burn_flex::{Flex, FlexDevice};
use paligemma::Model;
use paligemma_nn::{NnBackend, Projection, RmsNorm};
use paligemma_train::{Backward, Gradients, Loss, hidden_loss};

use super::Training;
use super::data::Batch;
use super::model::config;

/// The layer after which the tokens of a picture point: those that follow can use what they know.
const POINTING_LAYER: &str = "layer1";
/// How many of the things that a prompt speaks of are pointed at.
const MENTIONS: usize = 4;
/// Weight of the pointer's error against the answers'.
const POINTING_WEIGHT: f32 = 2.0;

/// Lets every token of a picture tell, for each of the things that the prompt speaks of, whether it
/// shows it. The prefix-LM mask makes that possible: the picture sees the prompt.
#[derive(Module, Debug)]
pub(crate) struct Pointer<B: NnBackend> {
    norm: RmsNorm<B>,
    head: Projection<B>,
}

impl<B: NnBackend> Pointer<B> {
    pub(crate) fn new(width: usize, device: &B::Device) -> Self {
        let head = Projection::with_bias(width, MENTIONS, device);
        Self { norm: RmsNorm::new(width, 1e-6, device), head }
    }

    /// Mean cross-entropy of what the picture's tokens tell.
    ///
    /// # Shapes
    /// - `tokens`: `[B, N, D]`
    /// - output: `[1]`
    fn loss(&self, tokens: Tensor<B, 3>, batch: &Batch, patch: usize) -> Tensor<B, 1> {
        let device = tokens.device();
        let said = self.head.forward(self.norm.forward(tokens));
        let (meant, weights) = batch.meant(patch, MENTIONS);
        let known = |values| Tensor::from_data(TensorData::new(values, said.dims()), &device);
        let (meant, weights): (Tensor<B, 3>, Tensor<B, 3>) = (known(meant), known(weights));
        let apart = softplus(said.clone().abs().neg(), 1.0);
        ((relu(said.clone()) - said * meant + apart) * weights).sum()
    }
}

/// The model and its pointer.
#[derive(Module, Debug)]
pub(crate) struct Pupil<B: NnBackend> {
    pub(crate) model: Model<B>,
    pub(crate) pointer: Option<Pointer<B>>,
}

impl Pupil<Training> {
    /// The losses of a batch, of the answers and of the pointer, and the gradients of their sum.
    pub(crate) fn learn(&self, batch: &Batch, pad: u32) -> ([f64; 2], Gradients) {
        let rows = paligemma_train::Batch {
            pixels: batch.pictures::<Flex>(&FlexDevice),
            rows: batch.rows.clone(),
            pad,
        };
        let Some(pointer) = &self.pointer else {
            let (answers, gradients) = Backward::default().run(&self.model, &rows);
            return ([answers, 0.0], gradients);
        };
        let [answers, pointing] = self.losses(pointer, batch, rows);
        let value = |loss: &Tensor<Training, 1>| f64::from(loss.clone().into_scalar());
        let values = [value(&answers), value(&pointing)];
        let loss = answers + pointing * POINTING_WEIGHT;
        (values, Gradients::of(loss.backward(), self))
    }

    fn losses(
        &self,
        pointer: &Pointer<Training>,
        batch: &Batch,
        paligemma_train::Batch { pixels, rows, pad }: paligemma_train::Batch<Flex>,
    ) -> [Tensor<Training, 1>; 2] {
        let (tower, decoder) = (self.model.vision_tower(), self.model.language_model());
        let features = Tensor::from_inner(tower.valid().forward(pixels));
        let features = rows.features(self.model.projector().forward(features));
        let count = features.dims()[1];
        let embeds = self.model.embed(features, rows.ids(pad, &FlexDevice));
        let mut seen = None;
        let hidden = decoder.trace(embeds, &rows.mask(count), None, |name, output| {
            if name == POINTING_LAYER {
                seen = Some(output.clone());
            }
        });
        let seen = seen.expect("the decoder has the layer");
        let [batch_size, _, width] = seen.dims();
        let tokens = seen.slice([0..batch_size, 0..count, 0..width]);
        let patch = config().vision.patch_size;
        let answers = hidden_loss(decoder, hidden, &rows, count, Loss::default());
        [answers, pointer.loss(tokens, batch, patch)]
    }
}
