//! Scores on scenes that were never trained on.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;

use burn::tensor::{Tensor, TensorData};
use burn_flex::{Flex, FlexDevice};
use paligemma::{DeviceSpec, Dtype, Model, Prompt, Session};
use paligemma_checkpoint::{Checkpoint, PaliGemmaConfig};
use paligemma_pocket::evaluate::Tally;
use paligemma_pocket::scene::SIDE;
use paligemma_pocket::{Example, FIRST_HELD_OUT_SEED, Scene, Score, Task, task};
use paligemma_processor::Tokenizer;

use super::Result;
use super::data::{pixels, tokenizer};
use super::masks::{FILE, Vae, codes, decode, read};

/// Rows decoded together.
const ROWS: usize = 64;
/// Longest answer, in tokens.
const LONGEST: usize = 40;

/// The greedy answers of `model` to prompts about pictures whose features are known.
fn answers(
    model: &Model<Flex>,
    tokenizer: &Tokenizer,
    features: &Tensor<Flex, 3>,
    asked: &[(usize, Example)],
) -> Result<Vec<String>> {
    let [_, count, width] = features.dims();
    let mut prompts = Vec::new();
    for (picture, example) in asked {
        let features = features.clone().slice([*picture..picture + 1, 0..count, 0..width]);
        let text = tokenizer.encode_prompt(&example.prefix, 0, 0)?;
        prompts.push(Prompt { features: Some(features), text });
    }
    let mut session = Session::prefill(model, &prompts, LONGEST);
    let eos = tokenizer.special().eos;
    let mut texts: Vec<Vec<u32>> = vec![Vec::new(); asked.len()];
    let mut open = vec![true; asked.len()];
    while session.remaining() > 0 && open.contains(&true) {
        let best = session.logits().argmax(1).into_data();
        let next: Vec<u32> = best.iter::<i64>().map(|id| id as u32).collect();
        for ((text, open), &id) in texts.iter_mut().zip(&mut open).zip(&next) {
            *open &= id != eos;
            if *open {
                text.push(id);
            }
        }
        session.advance(&next);
    }
    Ok(texts.iter().map(|ids| tokenizer.decode(ids)).collect())
}

/// Scores of `model` over `scenes` held-out scenes of `things`, prompts of `tasks` only.
pub(crate) fn score(
    model: &Model<Flex>,
    vae: &Vae,
    scenes: usize,
    things: &RangeInclusive<usize>,
    tasks: &[Task],
) -> Result<(Score, Vec<(Example, String)>)> {
    let tokenizer = tokenizer()?;
    let (mut score, mut shown) = (Score::default(), Vec::new());
    let all: Vec<Scene> = (0..scenes as u64)
        .map(|i| Scene::generate(FIRST_HELD_OUT_SEED + i, things.clone()))
        .collect();
    for scenes in all.chunks(ROWS / 4) {
        let side = SIDE as usize;
        let pixels = TensorData::new(pixels(scenes), [scenes.len(), 3, side, side]);
        let features = model.encode(Tensor::from_data(pixels, &FlexDevice));
        let mut asked: Vec<(usize, Example)> = scenes
            .iter()
            .enumerate()
            .flat_map(|(i, scene)| {
                task::evaluation_examples(scene).into_iter().map(move |e| (i, e))
            })
            .filter(|(_, example)| tasks.contains(&example.task))
            .collect();
        if tasks.contains(&Task::Segment) {
            for (picture, codes) in codes(vae, scenes).into_iter().enumerate() {
                for asked_ in codes.into_iter().enumerate() {
                    asked.push((picture, task::segment(&scenes[picture], &[asked_])));
                }
            }
        }
        for asked in asked.chunks(ROWS) {
            let texts = answers(model, &tokenizer, &features, asked)?;
            for ((picture, example), text) in asked.iter().zip(texts) {
                if example.task == Task::Segment {
                    let decode = |codes| decode(vae, codes);
                    score.add_masks(&scenes[*picture], example, &text, decode);
                } else {
                    score.add(example, &text);
                }
                shown.push((example.clone(), text));
            }
        }
    }
    Ok((score, shown))
}

/// Prints the scores of a checkpoint for each number of things.
pub(crate) fn evaluate(folder: &Path, scenes: usize, dtype: Dtype) -> Result<()> {
    let config = PaliGemmaConfig::open(folder)?;
    let storage = dtype.on(DeviceSpec::Flex).ok_or("name a dtype instead of auto")?;
    let checkpoint = Checkpoint::open(folder)?;
    let (model, report) = Model::<Flex>::load(&config, &checkpoint, storage, &FlexDevice, |_| ())?;
    println!("{report}");
    let vae = read(&folder.join(FILE))?;
    for things in [1..=1, 2..=2, 1..=2, 3..=3, 4..=4] {
        let (score, shown) = score(&model, &vae, scenes, &things, &Task::ALL)?;
        let last = FIRST_HELD_OUT_SEED + scenes as u64 - 1;
        println!("\nthings {things:?}, scenes {FIRST_HELD_OUT_SEED}..={last}\n{score}");
        println!("\n{}", by_form(&shown));
    }
    Ok(())
}

/// A Markdown table of answers by the form of the question, the worst first.
pub(crate) fn by_form(shown: &[(Example, String)]) -> String {
    let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
    for (example, text) in shown {
        if let Some(form) = task::question_form(example) {
            let tally = tallies.entry(form).or_default();
            tally.total += 1;
            tally.right += usize::from(text.trim() == example.suffix);
        }
    }
    let mut rows: Vec<_> = tallies.into_iter().collect();
    rows.sort_by(|a, b| a.1.rate().total_cmp(&b.1.rate()));
    let rows = rows
        .iter()
        .map(|(form, tally)| format!("| `{form}` | {:.3} | {} |\n", tally.rate(), tally.total));
    format!("| question | exact match | of |\n|---|---|---|\n{}", rows.collect::<String>())
}
