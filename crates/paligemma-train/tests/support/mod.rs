//! Data to train on, and what was logged.
#![allow(dead_code, unreachable_pub, reason = "no test uses all of it")]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use paligemma::image::{Rgb, RgbImage};
use paligemma_train::Settings;

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

/// How far the losses of two runs are apart, at most.
pub fn losses_differ_by(one: &Path, other: &Path) -> f64 {
    let losses = |folder: &Path| -> Vec<f64> {
        let log = fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
        let lines =
            log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        lines.filter_map(|line| line["loss"].as_f64().or(line["eval_loss"].as_f64())).collect()
    };
    let (one, other) = (losses(one), losses(other));
    assert!(!one.is_empty() && one.len() == other.len());
    let errors = one.iter().zip(&other).map(|(a, b)| (a - b).abs());
    errors.fold(0.0, f64::max)
}
