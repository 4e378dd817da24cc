//! What a stage trains: the model, and in some stages a pointer that is thrown away afterwards.

use std::path::Path;

use burn::module::{AutodiffModule, Module};
use burn::record::{FullPrecisionSettings, NamedMpkFileRecorder, RecorderError};
use burn::tensor::activation::{relu, softplus};
use burn::tensor::{Tensor, TensorData};
use burn_flex::{Flex, FlexDevice};
use paligemma::Model;
use paligemma_nn::{NnBackend, Projection, RmsNorm};
use paligemma_pocket::mention::WORDS;
use paligemma_pocket::vocabulary;
use paligemma_train::{Backward, Gradients, Loss, hidden_loss};

use super::Training;
use super::data::Batch;
use super::model::config;

/// The layers after which the tokens of a picture know the prompt's words, and point: those that
/// follow can use what they know.
const READING_LAYER: &str = "layer0";
const POINTING_LAYER: &str = "layer1";
/// How many of the things that a prompt speaks of are pointed at.
const MENTIONS: usize = 2;
/// Weight of the pointer's errors against the answers'.
const POINTING_WEIGHT: f32 = 20.0;

/// The name of its file in a run's checkpoint.
const FILE: &str = "pointer";

type Recorder = NamedMpkFileRecorder<FullPrecisionSettings>;

/// Lets every token of a picture tell which words the prompt speaks of things with, and whether it
/// shows what they mean. The prefix-LM mask makes that possible: the picture sees the prompt.
#[derive(Module, Debug)]
pub(crate) struct Pointer<B: NnBackend> {
    words: Head<B>,
    shows: Head<B>,
}

#[derive(Module, Debug)]
struct Head<B: NnBackend> {
    norm: RmsNorm<B>,
    projection: Projection<B>,
}

impl<B: NnBackend> Head<B> {
    fn new(width: usize, outputs: usize, device: &B::Device) -> Self {
        let projection = Projection::with_bias(width, outputs, device);
        Self { norm: RmsNorm::new(width, 1e-6, device), projection }
    }

    /// Binary cross-entropy of each of the outputs, against what is 0 or 1.
    ///
    /// # Shapes
    /// - `tokens`: `[B, N, D]`
    /// - `truth` and output: `[B, N, outputs]`
    fn errors(&self, tokens: Tensor<B, 3>, truth: Tensor<B, 3>) -> Tensor<B, 3> {
        let said = self.projection.forward(self.norm.forward(tokens));
        let apart = softplus(said.clone().abs().neg(), 1.0);
        relu(said.clone()) - said * truth + apart
    }
}

impl<B: NnBackend> Pointer<B> {
    pub(crate) fn new(width: usize, device: &B::Device) -> Self {
        Self {
            words: Head::new(width, MENTIONS * WORDS, device),
            shows: Head::new(width, MENTIONS, device),
        }
    }

    /// Writes the heads into a run's checkpoint, with the numbers by which its optimisers know them.
    pub(crate) fn save(&self, folder: &Path) -> Result<(), RecorderError> {
        self.clone().save_file(folder.join(FILE), &Recorder::default())
    }

    /// The heads of a run's checkpoint.
    pub(crate) fn load(self, folder: &Path, device: &B::Device) -> Result<Self, RecorderError> {
        self.load_file(folder.join(FILE), &Recorder::default(), device)
    }

    /// Mean cross-entropies of what the picture's tokens tell of the prompt and of themselves.
    ///
    /// # Shapes
    /// - `read` and `pointed`: `[B, N, D]`, after the two layers
    /// - output: `[1]`
    fn loss(&self, read: Tensor<B, 3>, pointed: Tensor<B, 3>, batch: &Batch) -> [Tensor<B, 1>; 2] {
        let device = read.device();
        let [rows, count, _] = read.dims();
        let known = |values, count, outputs| {
            let data = TensorData::new(values, [rows, count, outputs]);
            Tensor::<B, 3>::from_data(data, &device)
        };
        let named = known(batch.words(MENTIONS), 1, MENTIONS * WORDS);
        let named = named.expand([rows, count, MENTIONS * WORDS]);
        let words = self.words.errors(read, named).mean();
        let (meant, weights) = batch.meant(config().vision.patch_size, MENTIONS);
        let shows = self.shows.errors(pointed, known(meant, count, MENTIONS));
        [words, (shows * known(weights, count, MENTIONS)).sum()]
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
    pub(crate) fn learn(&self, batch: &Batch) -> ([f64; 3], Gradients) {
        let Some(pointer) = &self.pointer else {
            let rows = paligemma_train::Batch {
                pixels: batch.pictures::<Flex>(&FlexDevice),
                rows: batch.rows.clone(),
                pad: vocabulary::PAD,
            };
            let (answers, gradients) = Backward::default().run(&self.model, &rows);
            return ([answers, 0.0, 0.0], gradients);
        };
        let tower = self.model.vision_tower().valid();
        let features = tower.forward(batch.pictures::<Flex>(&FlexDevice));
        let (mut values, mut gradients) = ([0.0; 3], Gradients::default());
        for half in batch.halves() {
            let share = half.rows.rows().len() as f64 / batch.rows.rows().len() as f64;
            let losses = self.losses(pointer, &half, Tensor::from_inner(features.clone()));
            for (value, loss) in values.iter_mut().zip(&losses) {
                *value += share * f64::from(loss.clone().into_scalar());
            }
            let [answers, words, shows] = losses;
            let loss = (answers + (words + shows) * POINTING_WEIGHT) * share;
            gradients.merge(Gradients::of(loss.backward(), self), self);
        }
        (values, gradients)
    }

    /// Of the answers, of the words and of what is shown.
    ///
    /// # Shapes
    /// - `features`: `[I, N, D]`
    /// - output: `[1]` each
    fn losses(
        &self,
        pointer: &Pointer<Training>,
        batch: &Batch,
        features: Tensor<Training, 3>,
    ) -> [Tensor<Training, 1>; 3] {
        let (decoder, rows) = (self.model.language_model(), &batch.rows);
        let features = rows.features(self.model.projector().forward(features));
        let [count_of_rows, count, width] = features.dims();
        let embeds = self.model.embed(features, rows.ids(vocabulary::PAD, &FlexDevice));
        let (mut read, mut pointed) = (None, None);
        let hidden = decoder.trace(embeds, &rows.mask(count), None, |name, output| {
            let tokens = || output.clone().slice([0..count_of_rows, 0..count, 0..width]);
            match name {
                READING_LAYER => read = Some(tokens()),
                POINTING_LAYER => pointed = Some(tokens()),
                _ => {}
            }
        });
        let answers = hidden_loss(decoder, hidden, rows, count, Loss::default());
        let (Some(read), Some(pointed)) = (read, pointed) else {
            unreachable!("the decoder has both layers");
        };
        let [words, shows] = pointer.loss(read, pointed, batch);
        [answers, words, shows]
    }
}
