//! A model opened for measuring, the picture and prompt that it is given, and its stages.

use std::error::Error;
use std::path::Path;

use burn::tensor::{Tensor, TensorData};
use paligemma::image::{Rgb, RgbImage};
use paligemma::{Model, Prompt, Session, Storage};
use paligemma_checkpoint::{Checkpoint, PaliGemmaConfig};
use paligemma_nn::NnBackend;
use paligemma_processor::preprocess;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The prompt's text: `<bos>`, six tokens that every vocabulary has, the newline of the published
/// one.
pub const TEXT: [u32; 8] = [2, 11, 12, 13, 14, 15, 16, 108];

/// Rows that are decoded together.
pub const ROWS: usize = 8;

/// A model and what it is given.
#[derive(Debug)]
pub struct Subject<B: NnBackend> {
    model: Model<B>,
    pixels: Tensor<B, 4>,
    device: B::Device,
}

/// Opens the checkpoint in `folder`, or the embedded model, held as `storage` says.
///
/// # Errors
/// If the checkpoint cannot be opened, or the device does not compute in its type.
pub fn open<B: NnBackend>(
    folder: Option<&Path>,
    storage: Storage,
    device: B::Device,
) -> Result<Subject<B>, Box<dyn Error>> {
    let (config, checkpoint) = match folder {
        Some(folder) => (PaliGemmaConfig::open(folder)?, Checkpoint::open(folder)?),
        None => (
            PaliGemmaConfig::from_json(paligemma::pocket::CONFIG)?,
            Checkpoint::from_static(paligemma::pocket::WEIGHTS)?,
        ),
    };
    let (model, _) = Model::load(&config, &checkpoint, storage, &device, |_| ())?;
    let size = config.vision.image_size;
    let data = TensorData::new(pixels(size), [1, 3, size, size]);
    let pixels = Tensor::from_data(data, (&device, storage.activations()));
    Ok(Subject { model, pixels, device })
}

impl<B: NnBackend> Subject<B> {
    /// Features of the picture.
    pub fn encode(&self) -> Tensor<B, 3> {
        self.done(self.model.encode(self.pixels.clone()))
    }

    /// The prompt read, with room for `room` more tokens.
    pub fn prefill(&self, features: &Tensor<B, 3>, room: usize) -> Session<'_, B> {
        let prompt = Prompt { features: Some(features.clone()), text: TEXT.to_vec() };
        self.done(Session::prefill(&self.model, &[prompt], room))
    }

    /// The same, and the logits of the next token, `[1, V]`.
    pub fn read(&self, features: &Tensor<B, 3>, room: usize) -> (Session<'_, B>, Tensor<B, 2>) {
        let session = self.prefill(features, room);
        let logits = self.done(session.logits());
        (session, logits)
    }

    /// What was computed, once the device has: a GPU works behind the program.
    fn done<T>(&self, value: T) -> T {
        // A device that fails says so again where the numbers are read.
        B::sync(&self.device).ok();
        value
    }
}

/// A picture of noise, the same everywhere.
pub fn picture(width: u32, height: u32) -> RgbImage {
    let mut random = ChaCha8Rng::seed_from_u64(0);
    RgbImage::from_fn(width, height, |_, _| Rgb(random.random()))
}

/// What the vision tower gets: a picture of its own size, `[3, size, size]` in -1..1.
pub fn pixels(size: usize) -> Vec<f32> {
    preprocess(&picture(size as u32, size as u32), size)
}
