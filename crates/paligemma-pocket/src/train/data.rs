//! Batches, each a pure function of its seed, made ahead of the step that needs them.

use std::ops::RangeInclusive;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use burn::tensor::{Tensor, TensorData};
use paligemma_nn::NnBackend;
use paligemma_pocket::mention::WORDS;
use paligemma_pocket::patches::Letter;
use paligemma_pocket::scene::SIDE;
use paligemma_pocket::{Mention, Scene, Task, mention, patches, task, vocabulary};
use paligemma_processor::{Tokenizer, preprocess};
use paligemma_train::{Row, Rows};
use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::Result;
use super::masks::{Vae, codes};

/// Batches that wait for the trainer.
const AHEAD: usize = 4;

/// The tokenizer of the embedded model.
pub(crate) fn tokenizer() -> Result<Tokenizer> {
    let json = vocabulary::tokenizer().to_string();
    Ok(Tokenizer::from_bytes(json.as_bytes(), vocabulary::image_token())?)
}

/// What the batches of a stage hold.
#[derive(Clone, Debug)]
pub(crate) struct Recipe {
    /// Scenes of a batch.
    pub(crate) scenes: usize,
    /// Things of a scene: the first range for most scenes, then others with their share.
    pub(crate) things: Vec<(RangeInclusive<usize>, f32)>,
    /// Whether every second scene has a plate in any case, and not by chance alone.
    pub(crate) plated: bool,
    /// Pages beside the scenes, about which nothing is asked.
    pub(crate) pages: usize,
    /// Questions about each scene.
    pub(crate) questions: usize,
    /// Which prompts are kept.
    pub(crate) tasks: &'static [Task],
}

/// What turns prompts, answers and masks into numbers.
pub(crate) struct Tools {
    pub(crate) tokenizer: Tokenizer,
    pub(crate) vae: Vae,
}

/// Pictures, and what is asked about them, the shortest rows first.
#[derive(Clone)]
pub(crate) struct Batch {
    pub(crate) scenes: Vec<Scene>,
    pixels: Vec<f32>,
    pub(crate) rows: Rows,
    /// The things that the prompt of each row speaks of.
    mentions: Vec<Vec<Mention>>,
}

impl Batch {
    fn new(recipe: &Recipe, tools: &Tools, seed: u64) -> Result<Self> {
        let first = seed * recipe.scenes as u64;
        let mut scenes: Vec<Scene> = (0..recipe.scenes)
            .map(|i| {
                // The shares split the batch evenly, so no draw is needed.
                let share = (i as f32 + 0.5) / recipe.scenes as f32;
                let mut total = 0.0;
                let range = recipe.things.iter().find(|(_, weight)| {
                    total += weight;
                    share < total
                });
                let range = range.map_or(1..=1, |(range, _)| range.clone());
                let seed = first + i as u64;
                if recipe.plated && i % 2 == 0 {
                    plated(seed, &range)
                } else {
                    Scene::generate(seed, range)
                }
            })
            .collect();
        let mut rows = Vec::new();
        let Tools { tokenizer, vae } = tools;
        let codes = recipe.tasks.contains(&Task::Segment).then(|| codes(vae, &scenes));
        for (picture, scene) in scenes.iter().enumerate() {
            let mut random = SmallRng::seed_from_u64(scene.seed);
            let mut examples = task::examples(scene, recipe.questions, &mut random);
            if let Some(codes) = &codes {
                let asked = task::draw_segmented(scene, &mut random);
                let asked: Vec<_> = asked.into_iter().map(|i| (i, codes[picture][i])).collect();
                examples.push(task::segment(scene, &asked));
            }
            for example in examples {
                // While places are vague, "nothing" would beat each of many likely places.
                let nothing = example.task == Task::Detect && example.suffix.is_empty();
                if recipe.tasks.contains(&example.task) && !nothing {
                    let mut suffix = tokenizer.encode_suffix(&example.suffix)?;
                    suffix.push(tokenizer.special().eos);
                    let prefix = tokenizer.encode_prompt(&example.prefix, 0, 0)?;
                    let mentions = mention::mentions(&example.prefix);
                    rows.push((Row { pictures: vec![picture], prefix, suffix }, mentions));
                }
            }
        }
        scenes.extend((0..recipe.pages as u64).map(|i| Scene::page(first + i)));
        let pixels = pixels(&scenes);
        rows.sort_by_key(|(row, _)| row.prefix.len() + row.suffix.len());
        let (rows, mentions) = rows.into_iter().unzip();
        Ok(Self { scenes, pixels, rows: Rows::new(rows), mentions })
    }

    /// The same pictures with the shorter half of the rows, then with the longer: less of both is
    /// padding.
    pub(crate) fn halves(&self) -> [Self; 2] {
        let (rows, middle) = (self.rows.rows(), self.rows.rows().len() / 2);
        [0..middle, middle..rows.len()].map(|half| Self {
            rows: Rows::new(rows[half.clone()].to_vec()),
            mentions: self.mentions[half].to_vec(),
            ..self.clone()
        })
    }

    /// Pictures of the batch, `[I, 3, H, W]`.
    pub(crate) fn pictures<B: NnBackend>(&self, device: &B::Device) -> Tensor<B, 4> {
        let side = SIDE as usize;
        let shape = [self.scenes.len(), 3, side, side];
        Tensor::from_data(TensorData::new(self.pixels.clone(), shape), device)
    }

    /// The characters that patches of the batch show, and patches counted through it.
    pub(crate) fn letters(&self, patch: usize) -> Vec<Letter> {
        let patches = (SIDE as usize / patch).pow(2);
        let shown = self.scenes.iter().enumerate().flat_map(|(picture, scene)| {
            patches::letter_targets(scene, patch).into_iter().map(move |letter| {
                let [index, half] = letter.place;
                Letter { place: [picture * patches + index, half], ..letter }
            })
        });
        shown.collect()
    }

    /// For each row and patch, and for the first `count` mentions of the row's prompt, whether the
    /// patch shows what is meant (1 or 0); and the weight of that in a mean, which is 0 where there
    /// is no such mention. Both `[B, N, count]`.
    pub(crate) fn meant(&self, patch: usize, count: usize) -> (Vec<f32>, Vec<f32>) {
        let classes: Vec<Vec<u8>> =
            self.scenes.iter().map(|scene| patches::patch_targets(scene, patch).0).collect();
        let (mut meant, mut weights) = (Vec::new(), Vec::new());
        for (row, mentions) in self.rows.rows().iter().zip(&self.mentions) {
            let picture = row.pictures[0];
            let wanted: Vec<_> = mentions
                .iter()
                .map(|&mention| patches::meant_classes(&self.scenes[picture], mention))
                .collect();
            for &class in &classes[picture] {
                for place in 0..count {
                    let here = wanted.get(place).map(|wanted| wanted[usize::from(class)]);
                    meant.push(f32::from(here.unwrap_or(false)));
                    weights.push(f32::from(here.is_some()));
                }
            }
        }
        let total: f32 = weights.iter().sum::<f32>().max(1.0);
        (meant, weights.into_iter().map(|weight| weight / total).collect())
    }

    /// For each row and each of the first `count` mentions of its prompt, which words it has (1 or
    /// 0), `[B, count WORDS]`.
    pub(crate) fn words(&self, count: usize) -> Vec<f32> {
        let words = |mention: Option<&Mention>| mention.map_or([false; WORDS], Mention::words);
        let of_row = |mentions: &Vec<Mention>| {
            (0..count)
                .flat_map(|place| words(mentions.get(place)))
                .map(f32::from)
                .collect::<Vec<_>>()
        };
        self.mentions.iter().flat_map(of_row).collect()
    }

    /// Class and box of every patch of the batch.
    pub(crate) fn patches(&self, patch: usize) -> (Vec<u8>, Vec<[f32; 4]>) {
        let mut all = (Vec::new(), Vec::new());
        for scene in &self.scenes {
            let (classes, boxes) = patches::patch_targets(scene, patch);
            all.0.extend(classes);
            all.1.extend(boxes);
        }
        all
    }
}

/// Seeds of the batches of all stages lie below this.
const BATCHES: u64 = 1 << 33;

/// The first scene with a plate, of those that far apart from a seed on.
fn plated(seed: u64, things: &RangeInclusive<usize>) -> Scene {
    let seeds = (seed..).step_by(BATCHES as usize);
    let mut scenes = seeds.map(|seed| Scene::generate(seed, things.clone()));
    scenes
        .find(|scene| !scene.plates.is_empty())
        .unwrap_or_else(|| unreachable!("seeds do not end"))
}

/// Pixels of scenes, one after the other.
pub(crate) fn pixels(scenes: &[Scene]) -> Vec<f32> {
    scenes.iter().flat_map(|scene| preprocess(&scene.render(), SIDE as usize)).collect()
}

/// Batches as they come, or why there are none.
pub(crate) type Batches = Receiver<std::result::Result<Batch, String>>;

/// Batches from `first` on, made by a thread of their own.
pub(crate) fn stream(recipe: Recipe, tools: Tools, first: u64) -> Batches {
    let (sender, receiver) = sync_channel(AHEAD);
    thread::spawn(move || {
        for seed in first.. {
            let batch = Batch::new(&recipe, &tools, seed).map_err(|error| error.to_string());
            if sender.send(batch).is_err() {
                return;
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use paligemma_checkpoint::{Checkpoint, load_masks};

    use super::*;

    #[test]
    fn halves_hold_all_rows_with_their_mentions_the_shorter_first() {
        let masks = Checkpoint::from_static(paligemma::pocket::MASKS).unwrap();
        let (vae, _) = load_masks(&masks, &burn_flex::FlexDevice).unwrap();
        let tools = Tools { tokenizer: tokenizer().unwrap(), vae };
        let tasks = &Task::PLAIN;
        let recipe = Recipe {
            scenes: 4,
            things: vec![(1..=4, 1.0)],
            plated: true,
            pages: 0,
            questions: 3,
            tasks,
        };
        let batch = Batch::new(&recipe, &tools, 7).unwrap();
        let halves = batch.halves();
        let length = |row: &Row| row.prefix.len() + row.suffix.len();
        let [shorter, longer] = halves.each_ref().map(|half| half.rows.rows());
        assert!(shorter.iter().map(length).max() <= longer.iter().map(length).min());
        assert_eq!([shorter, longer].concat(), batch.rows.rows());
        assert_eq!(halves.map(|half| half.mentions).concat(), batch.mentions);
    }
}
