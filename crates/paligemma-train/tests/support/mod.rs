//! Data to train on, models that are drawn, and what was logged.
#![allow(dead_code, unreachable_pub, reason = "no test uses all of it")]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use burn::tensor::backend::Backend;
use burn_flex::{Flex, FlexDevice};
use paligemma::image::{Rgb, RgbImage};
use paligemma_train::Settings;

/// Held while something is drawn: the tests of a process share the backend's random generator.
static DRAWING: Mutex<()> = Mutex::new(());

/// What `draw` makes of a generator that begins at `seed`. It draws all it needs at once: a
/// parameter that is drawn when it is first read would come from whatever others left.
pub fn drawn<T>(seed: u64, draw: impl FnOnce() -> T) -> T {
    let _drawing = DRAWING.lock().unwrap_or_else(PoisonError::into_inner);
    Flex::seed(&FlexDevice, seed);
    draw()
}

/// Five pictures of one colour each, and a question about each.
pub fn data(folder: &Path) -> Settings {
    let colours = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [0, 0, 0]];
    let names = ["red", "green", "blue", "yellow", "black"];
    let mut lines = String::new();
    for (colour, name) in colours.into_iter().zip(names) {
        RgbImage::from_pixel(112, 112, Rgb(colour))
            .save(folder.join(format!("{name}.png")))
            .unwrap();
        writeln!(
            lines,
            r#"{{"image": "{name}.png", "prefix": "answer en what colour?", "suffix": "{name}"}}"#
        )
        .unwrap();
    }
    let path = folder.join("train.jsonl");
    fs::write(&path, lines).unwrap();
    Settings {
        eval: Some(path.clone()),
        epochs: 3,
        batch_size: 2,
        accumulate: 2,
        learning_rate: 1e-3,
        dropout: 0.1,
        seed: 7,
        save_every: 2,
        ..Settings::new("embedded".to_owned(), path)
    }
}

/// How far the first `count` losses of two runs of the same length are apart, at most.
pub fn losses_differ_by(one: &Path, other: &Path, count: usize) -> f64 {
    let losses = |folder: &Path| -> Vec<f64> {
        let log = fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
        let lines =
            log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        lines.filter_map(|line| line["loss"].as_f64().or(line["eval_loss"].as_f64())).collect()
    };
    let (one, other) = (losses(one), losses(other));
    assert!(one.len() >= count && one.len() == other.len());
    let errors = one.iter().zip(&other).take(count).map(|(a, b)| (a - b).abs());
    errors.fold(0.0, f64::max)
}
