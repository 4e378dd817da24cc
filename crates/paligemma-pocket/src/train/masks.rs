//! Before the stages: the codes that masks are told in.
//!
//! Encoder, codes and decoder learn together to bring back silhouettes (van den Oord et al. 2017,
//! arXiv:1711.00937): the decoder's gradient passes the choice of the nearest code as if it were
//! none, codes follow what they were chosen for, and what is chosen stays near its code.

use std::path::Path;
use std::time::Instant;

use burn::module::AutodiffModule;
use burn::tensor::{Int, Tensor, TensorData};
use burn_flex::{Flex, FlexDevice};
use paligemma_checkpoint::{Checkpoint, load_masks, save_masks};
use paligemma_mask::{MaskConfig, MaskVqVae};
use paligemma_nn::NnBackend;
use paligemma_pocket::silhouette::silhouette;
use paligemma_pocket::task::MaskCodes;
use paligemma_pocket::{FIRST_HELD_OUT_SEED, Scene};
use paligemma_processor::{Bitmap, MASK_SIDE, SEGMENTS};
use paligemma_train::{Gradients, MixedOptimizer, OptimizerConfig, RunDirectory, Schedule};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::model::quiet;
use super::{Result, Training};

/// The VQ-VAE as everything but its own training uses it.
pub(crate) type Vae = MaskVqVae<Flex>;

const SCHEDULE: Schedule = Schedule { steps: 1000, warmup: 100 };
const RATES: OptimizerConfig = OptimizerConfig { adamw: 5e-3, decay: 0.0, muon: None };
/// The file of the VQ-VAE in the folder of a run.
pub(crate) const FILE: &str = "masks.safetensors";
/// Masks of a batch.
const BATCH: usize = 64;
/// Weight of what keeps a vector near its code against the rest.
const COMMITMENT: f32 = 0.25;
/// Steps before there are codes: encoder and decoder learn faster without, and codes then begin
/// where vectors lie.
const WITHOUT_CODES: usize = 300;
/// Steps between two looks for codes that nothing chooses, and the step that ends them.
const REVIVE_EVERY: usize = 50;
const REVIVE_UNTIL: usize = 700;
/// Held-out masks of the score at the end.
const MEASURED: u64 = 512;

/// 16 codes of 128 as the published one has, and otherwise as narrow as silhouettes allow.
pub(crate) fn config() -> MaskConfig {
    MaskConfig { codes: SEGMENTS, latent: 16, encoder: [4, 8, 16, 24], decoder: [24, 24, 16, 8, 4] }
}

/// Masks as the encoder takes them, `[B, 1, 64, 64]`.
pub(crate) fn batch<B: NnBackend>(masks: Vec<f32>) -> Tensor<B, 4> {
    let count = masks.len() / (MASK_SIDE * MASK_SIDE);
    Tensor::from_data(
        TensorData::new(masks, [count, 1, MASK_SIDE, MASK_SIDE]),
        &B::Device::default(),
    )
}

/// The codes of the masks of every thing of every scene.
pub(crate) fn codes(vae: &Vae, scenes: &[Scene]) -> Vec<Vec<MaskCodes>> {
    let masks = scenes
        .iter()
        .flat_map(|scene| (0..scene.things.len()).flat_map(move |index| scene.cut_out(index)));
    let codes = vae.codes(batch(masks.collect())).into_data();
    let mut codes = codes.iter::<u8>();
    let mut next = || -> MaskCodes { std::array::from_fn(|_| codes.next().unwrap_or(0)) };
    scenes.iter().map(|scene| scene.things.iter().map(|_| next()).collect()).collect()
}

/// The values of one mask.
pub(crate) fn decode(vae: &Vae, codes: MaskCodes) -> Vec<f32> {
    let codes = TensorData::new(codes.map(i64::from).to_vec(), [1, codes.len()]);
    vae.decode(Tensor::from_data(codes, &FlexDevice)).into_data().iter().collect()
}

/// The VQ-VAE of a run, trained if the run has none yet.
pub(crate) fn open(run: &RunDirectory) -> Result<Vae> {
    let path = run.root().join(FILE);
    if !path.exists() {
        save_masks(&teach(), &path)?;
    }
    read(&path)
}

/// The VQ-VAE in a file.
pub(crate) fn read(path: &Path) -> Result<Vae> {
    Ok(load_masks(&Checkpoint::open(path)?, &FlexDevice)?.0)
}

fn teach() -> Vae {
    let new = MaskVqVae::<Training>::new(&config(), &FlexDevice);
    let mut lesson = Lesson::new(quiet(new));
    let started = Instant::now();
    for step in 0..SCHEDULE.steps {
        let first = (step * BATCH) as u64;
        let masks = batch((first..first + BATCH as u64).flat_map(silhouette).collect());
        let error = lesson.step(masks, step);
        if (step + 1) % 50 == 0 {
            let rate = (step + 1) as f64 / started.elapsed().as_secs_f64();
            let (done, all) = (step + 1, SCHEDULE.steps);
            println!("masks {done:4}/{all}: error {error:.4}, {rate:.1} steps/s");
        }
    }
    let vae = lesson.vae.valid();
    println!("masks: mean IoU {:.4} on {MEASURED} never seen", measure(&vae));
    vae
}

/// A VQ-VAE in training.
struct Lesson {
    vae: MaskVqVae<Training>,
    optimizer: MixedOptimizer<Training, MaskVqVae<Training>>,
    /// How often each code was chosen since codes were last revived.
    chosen: Vec<usize>,
    random: SmallRng,
}

impl Lesson {
    fn new(vae: MaskVqVae<Training>) -> Self {
        let (chosen, random) = (vec![0; config().codes], SmallRng::seed_from_u64(0));
        Self { optimizer: MixedOptimizer::new(&vae, RATES), vae, chosen, random }
    }

    /// One step; how far what came back was from the masks, in the mean of squares.
    fn step(&mut self, masks: Tensor<Training, 4>, step: usize) -> f32 {
        let latents = self.vae.latents(masks.clone());
        let target = masks * 2.0 - 1.0;
        let (error, loss) = if step < WITHOUT_CODES {
            let error = mean_square(self.vae.decode_latents(latents), target);
            (error.clone(), error)
        } else {
            if (step - WITHOUT_CODES).is_multiple_of(REVIVE_EVERY) && step < REVIVE_UNTIL {
                self.revive(&latents);
            }
            let codes = self.choose(&latents);
            let vectors = self.vae.embed(codes);
            let straight = latents.clone() + (vectors.clone() - latents.clone()).detach();
            let error = mean_square(self.vae.decode_latents(straight), target);
            let follow = mean_square(vectors.clone(), latents.clone().detach());
            let stay = mean_square(latents, vectors.detach());
            (error.clone(), error + follow + stay * COMMITMENT)
        };
        let factor = SCHEDULE.factor(step);
        let gradients = Gradients::of(loss.backward(), &self.vae);
        self.vae = self.optimizer.step(self.vae.clone(), gradients, factor);
        error.into_scalar()
    }

    /// The nearest codes, counted.
    fn choose(&mut self, latents: &Tensor<Training, 4>) -> Tensor<Training, 2, Int> {
        let codes = self.vae.quantise(latents.clone());
        for code in codes.to_data().iter::<i64>() {
            self.chosen[code as usize] += 1;
        }
        codes
    }

    /// Moves codes that nothing chose to vectors of the batch, drawn at random.
    fn revive(&mut self, latents: &Tensor<Training, 4>) {
        let vectors = latents.clone().permute([0, 2, 3, 1]);
        let width = vectors.dims()[3];
        let vectors: Vec<f32> = vectors.into_data().iter().collect();
        let mut table: Vec<f32> = self.vae.embedding().into_data().iter().collect();
        for (code, count) in self.chosen.iter_mut().enumerate() {
            if std::mem::take(count) == 0 {
                let from = self.random.random_range(0..vectors.len() / width) * width;
                table[code * width..][..width].copy_from_slice(&vectors[from..][..width]);
            }
        }
        let table = TensorData::new(table, [self.chosen.len(), width]);
        let table = Tensor::from_data(table, &FlexDevice).require_grad();
        self.vae = self.vae.clone().with_embedding(table);
    }
}

fn mean_square<B: NnBackend>(a: Tensor<B, 4>, b: Tensor<B, 4>) -> Tensor<B, 1> {
    (a - b).powi_scalar(2).mean()
}

/// The pixels of a mask whose values are above `least`.
fn shown(values: &[f32], least: f32) -> Bitmap {
    let side = MASK_SIDE as u32;
    Bitmap::from_fn(side, side, |x, y| values[(y * side + x) as usize] > least)
}

/// Mean IoU of held-out silhouettes and what their codes bring back.
fn measure(vae: &Vae) -> f32 {
    let masks: Vec<Vec<f32>> = (0..MEASURED).map(|i| silhouette(FIRST_HELD_OUT_SEED + i)).collect();
    let output = vae.decode(vae.codes(batch::<Flex>(masks.concat()))).into_data();
    let output: Vec<f32> = output.iter().collect();
    let overlaps = masks
        .iter()
        .zip(output.chunks(MASK_SIDE * MASK_SIDE))
        .map(|(mask, back)| shown(mask, 0.5).iou(&shown(back, 0.0)));
    overlaps.sum::<f32>() / MEASURED as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn embedded() -> Vae {
        let file = Checkpoint::from_static(paligemma::pocket::MASKS).unwrap();
        load_masks(&file, &FlexDevice).unwrap().0
    }

    #[test]
    fn the_embedded_codes_bring_back_shapes_never_seen() {
        let mean = measure(&embedded());
        assert!(mean >= 0.9, "{mean}");
    }

    #[test]
    fn the_embedded_codes_bring_back_every_thing_of_a_scene() {
        let vae = embedded();
        let scenes: Vec<Scene> =
            (0..20).map(|i| Scene::generate(FIRST_HELD_OUT_SEED + i, 1..=4)).collect();
        for (scene, codes) in scenes.iter().zip(codes(&vae, &scenes)) {
            assert_eq!(scene.things.len(), codes.len());
            for (index, codes) in codes.into_iter().enumerate() {
                let iou = shown(&scene.cut_out(index), 0.5).iou(&shown(&decode(&vae, codes), 0.0));
                assert!(iou >= 0.9, "{}: {:?} {iou}", scene.seed, scene.things[index].shape);
            }
        }
    }
}
