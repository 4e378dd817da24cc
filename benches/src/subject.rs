//! A model opened for measuring, the picture and prompt that it is given, and its stages.

use std::error::Error;
use std::path::Path;

use burn::tensor::{FloatDType, Tensor, TensorData};
use burn_flex::{Flex, FlexDevice};
use paligemma::image::{Rgb, RgbImage};
use paligemma::{Model, Prompt, Session};
use paligemma_checkpoint::{Checkpoint, PaliGemmaConfig, load_module, load_packed};
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
pub struct Subject {
    model: Model<Flex>,
    pixels: Tensor<Flex, 4>,
}

/// Opens the checkpoint in `folder`, or the embedded model, with weights as `f32`, or packed as
/// `bf16`, `int8` or `int4`.
///
/// # Errors
/// If there is no such format, or the checkpoint cannot be opened.
pub fn open(folder: Option<&Path>, format: &str) -> Result<Subject, Box<dyn Error>> {
    let (config, checkpoint) = match folder {
        Some(folder) => (PaliGemmaConfig::open(folder)?, Checkpoint::open(folder)?),
        None => (
            PaliGemmaConfig::from_json(paligemma::pocket::CONFIG)?,
            Checkpoint::from_static(paligemma::pocket::WEIGHTS)?,
        ),
    };
    let empty = Model::new(&config.vision, &config.text, &FlexDevice);
    let (model, _) = match format {
        "f32" => load_module(empty, &checkpoint, "", Some(FloatDType::F32))?,
        _ => load_packed(empty, &checkpoint, "", format.parse()?, |_| ())?,
    };
    let size = config.vision.image_size;
    let data = TensorData::new(pixels(size), [1, 3, size, size]);
    Ok(Subject { model, pixels: Tensor::from_data(data, &FlexDevice) })
}

impl Subject {
    /// Features of the picture.
    pub fn encode(&self) -> Tensor<Flex, 3> {
        self.model.encode(self.pixels.clone())
    }

    /// The prompt read, with room for `room` more tokens.
    pub fn prefill(&self, features: &Tensor<Flex, 3>, room: usize) -> Session<'_, Flex> {
        let prompt = Prompt { features: features.clone(), text: TEXT.to_vec() };
        Session::prefill(&self.model, &[prompt], room)
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
