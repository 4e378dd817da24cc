//! A task that the embedded model is not trained on, by which transfer is measured.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use serde_json::json;

use crate::scene::{FIRST_HELD_OUT_SEED, Scene};

/// What is asked: every thing's colour and shape, from top to bottom.
pub const PREFIX: &str = "list en";

/// The file of rows in a folder of examples.
pub const FILE: &str = "list.jsonl";

/// Scenes to learn from begin here: the embedded model met none of them.
const FIRST_SEED: u64 = FIRST_HELD_OUT_SEED / 2;
/// Pixels between the middles of two things along y, so that top to bottom is never in doubt.
const STEP: f32 = 8.0;

/// The answer: `blue star ; red circle`; `None` where two things are about as high.
pub fn answer(scene: &Scene) -> Option<String> {
    let mut things: Vec<_> =
        scene.things.iter().map(|thing| (thing.centre()[1], thing.label())).collect();
    things.sort_by(|a, b| a.0.total_cmp(&b.0));
    let clear = things.windows(2).all(|pair| pair[1].0 - pair[0].0 >= STEP);
    let labels: Vec<String> = things.into_iter().map(|(_, label)| label).collect();
    clear.then(|| labels.join(" ; "))
}

/// Scenes of one or two things with their answers, those to learn from or those held out.
pub fn scenes(held_out: bool) -> impl Iterator<Item = (Scene, String)> {
    let first = if held_out { FIRST_HELD_OUT_SEED } else { FIRST_SEED };
    (first..).filter_map(|seed| {
        let scene = Scene::generate(seed, 1..=2);
        answer(&scene).map(|answer| (scene, answer))
    })
}

/// Writes the first `count` examples into `folder`: a picture each, and [`FILE`].
///
/// # Errors
/// When a file cannot be written.
pub fn write(folder: &Path, count: usize, held_out: bool) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let mut rows = BufWriter::new(std::fs::File::create(folder.join(FILE))?);
    for (number, (scene, suffix)) in scenes(held_out).take(count).enumerate() {
        let image = format!("{number:05}.png");
        scene.render().save(folder.join(&image)).map_err(io::Error::other)?;
        writeln!(rows, "{}", json!({ "image": image, "prefix": PREFIX, "suffix": suffix }))?;
    }
    rows.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_are_listed_from_top_to_bottom_and_close_calls_left_out() {
        for (scene, answer) in scenes(false).take(200) {
            let height = |label: &str| {
                let thing = scene.things.iter().find(|thing| thing.label() == label);
                thing.unwrap().centre()[1]
            };
            let heights: Vec<f32> = answer.split(" ; ").map(height).collect();
            assert_eq!(heights.len(), scene.things.len());
            assert!(heights.windows(2).all(|pair| pair[1] - pair[0] >= STEP), "{answer}");
        }
        let mut level = Scene::generate(FIRST_SEED, 2..=2);
        let top = level.things[0].box_[1];
        let height = level.things[1].box_[3] - level.things[1].box_[1];
        level.things[1].box_[1] = top;
        level.things[1].box_[3] = top + height;
        level.things[0].box_[3] = top + height;
        assert_eq!(answer(&level), None);
    }

    #[test]
    fn rows_name_pictures_beside_them_and_none_is_both_learnt_and_held_out() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), 3, false).unwrap();
        let rows = std::fs::read_to_string(folder.path().join(FILE)).unwrap();
        assert_eq!(rows.lines().count(), 3);
        for (row, (scene, answer)) in rows.lines().zip(scenes(false)) {
            let row: serde_json::Value = serde_json::from_str(row).unwrap();
            assert_eq!((&row["prefix"], &row["suffix"]), (&json!(PREFIX), &json!(answer)));
            let image = folder.path().join(row["image"].as_str().unwrap());
            assert_eq!(image::open(image).unwrap().to_rgb8(), scene.render());
        }
        let last = scenes(false).nth(20_000).unwrap().0.seed;
        assert!(last < scenes(true).next().unwrap().0.seed);
    }
}
