//! `train-steps`: this project's steps of training on one batch, as one line of JSON.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use burn::module::Module;
use burn::tensor::{FloatDType, Tensor, TensorData};
use burn_autodiff::Autodiff;
use burn_flex::{Flex, FlexDevice};
use paligemma::Model;
use paligemma_checkpoint::{Checkpoint, PaliGemmaConfig, load_module};
use paligemma_train::{Backward, Batch, MixedOptimizer, OptimizerConfig, Row, Rows};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::measure::peak_memory;

/// The rate of AdamW.
pub(crate) const RATE: f64 = 1e-4;
/// Pictures of a batch: as many as the embedded model's last long stage has.
const PICTURES: usize = 24;
/// Steps before the clock starts.
const WARM_UP: u32 = 3;

/// What a process that trains prints.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Stepped {
    engine: String,
    pub(crate) version: String,
    threads: usize,
    pub(crate) step_s: f64,
    pub(crate) prompts_per_s: f64,
    pub(crate) first_loss: f64,
    pub(crate) last_loss: f64,
    pub(crate) peak_rss_bytes: u64,
}

/// A prompt about a picture of the batch, and its answer, in tokens.
#[derive(Serialize)]
struct Prompt {
    picture: usize,
    prefix: Vec<u32>,
    suffix: Vec<u32>,
}

/// Lengths of what is asked about a picture with so many things, and of the answers, as in the
/// embedded model's training: a caption, two questions, a detection of `asked` things, and now and
/// then a plate.
fn lengths(things: usize, asked: usize, plate: bool) -> Vec<[usize; 2]> {
    let mut all = vec![[4, 5 * things], [10, 2], [10, 2], [3 * asked + 2, 7 * asked]];
    all.extend(plate.then_some([3, 6]));
    all
}

/// Prompts of random tokens.
fn prompts() -> Vec<Prompt> {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut all = Vec::new();
    for picture in 0..PICTURES {
        let things = [1, 2, 2, 3, 1, 2, 2, 4][picture % 8];
        let asked = things.min([1, 1, 2, 2, 4][picture % 5]);
        for [prefix, suffix] in lengths(things, asked, picture % 4 == 0) {
            let mut draw = |count| (0..count).map(|_| random.random_range(3..1600)).collect();
            all.push(Prompt { picture, prefix: draw(prefix), suffix: draw(suffix) });
        }
    }
    all
}

/// Pictures of noise, `[I, 3, size, size]`.
fn pixels(size: usize) -> Vec<f32> {
    let mut random = ChaCha8Rng::seed_from_u64(2);
    (0..PICTURES * 3 * size * size).map(|_| random.random_range(-1.0..1.0)).collect()
}

/// Writes the batch for the peer: its pixels and its prompts.
pub(crate) fn write_batch(folder: &Path) -> Result<[PathBuf; 2]> {
    let config = PaliGemmaConfig::from_json(paligemma::pocket::CONFIG)?;
    let paths = [folder.join("training.f32"), folder.join("training.json")];
    let values = pixels(config.vision.image_size);
    fs::write(&paths[0], values.into_iter().flat_map(f32::to_le_bytes).collect::<Vec<u8>>())?;
    fs::write(&paths[1], serde_json::to_vec(&prompts())?)?;
    Ok(paths)
}

type Training = Autodiff<Flex>;

/// Trains the embedded model for some steps, and prints the line.
///
/// # Errors
/// If the embedded model cannot be opened.
pub(crate) fn run(steps: u32, frozen: bool) -> Result {
    let config = PaliGemmaConfig::from_json(paligemma::pocket::CONFIG)?;
    let checkpoint = Checkpoint::from_static(paligemma::pocket::WEIGHTS)?;
    let empty = Model::<Training>::new(&config.vision, &config.text, &FlexDevice);
    let (mut model, _) = load_module(empty, &checkpoint, "", Some(FloatDType::F32))?;
    let size = config.vision.image_size;
    let data = TensorData::new(pixels(size), [PICTURES, 3, size, size]);
    let pictures = Tensor::<Flex, 4>::from_data(data, &FlexDevice);
    let rows = prompts().into_iter();
    let rows = rows.map(|Prompt { picture, prefix, suffix }| Row {
        pictures: vec![picture],
        prefix,
        suffix,
    });
    let rows = Rows::new(rows.collect());
    let batch = Batch { pixels: pictures, rows, pad: config.pad_token_id };
    let (tower, projector, decoder) = model.into_parts();
    let tower = if frozen { tower.no_grad() } else { tower };
    model = Model::from_parts(tower, projector, decoder);
    let rates = OptimizerConfig { adamw: RATE, decay: 0.0, muon: None };
    let mut optimizer = MixedOptimizer::new(&model, rates);

    let mut losses = Vec::new();
    let mut start = Instant::now();
    for step in 0..WARM_UP + steps {
        if step == WARM_UP {
            start = Instant::now();
        }
        let (loss, gradients) = Backward::default().run(&model, &batch);
        losses.push(loss);
        model = optimizer.step(model, gradients, 1.0);
    }
    let step_s = start.elapsed().as_secs_f64() / f64::from(steps);
    let stepped = Stepped {
        engine: "paligemma".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        threads: rayon::current_num_threads(),
        step_s,
        prompts_per_s: batch.rows.rows().len() as f64 / step_s,
        first_loss: losses[0],
        last_loss: losses[losses.len() - 1],
        peak_rss_bytes: peak_memory().unwrap_or(0),
    };
    println!("{}", serde_json::to_string(&stepped)?);
    Ok(())
}
