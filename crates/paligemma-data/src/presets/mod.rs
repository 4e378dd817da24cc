//! The published recipe of each task, as a table.
//!
//! The rows of `presets.json` are what the configurations of google-research/big_vision say at
//! commit 0127fb6 when they are run: each `sweep_best` over its `get_config`.

mod find;

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

pub use find::PresetError;

use crate::augment::Augmentation;
use crate::target::Target;

/// How the best published result of a task at a resolution was trained.
///
/// What all have in common: Adam with b1 0.9 and b2 0.999, gradients clipped at a global norm of 1,
/// a warm-up over 5 % of the steps and a cosine down to zero.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Preset {
    /// What it is asked for by: the name of the configuration.
    pub name: String,
    /// Pixels along a side of the square that the model sees.
    pub resolution: usize,
    /// What people call the task.
    pub title: String,
    /// The prefix of a row, with names in braces for what differs between rows.
    pub prefix: String,
    /// What it is measured by, the first first.
    pub metrics: Vec<String>,
    /// Beams that answers are searched with when they are measured.
    pub beams: usize,
    /// The highest learning rate.
    pub learning_rate: f64,
    /// Decay of the weights of the vision tower and projector in a step at the highest learning
    /// rate. It is not multiplied by that rate, only by the schedule.
    pub weight_decay: f64,
    /// Passes over the data.
    pub epochs: usize,
    /// Examples in a step.
    pub batch_size: usize,
    /// Share of a token's target that is spread over all others.
    pub label_smoothing: f64,
    /// Share of activations dropped behind attention and MLP of the decoder.
    pub dropout: f64,
    /// Tokens of prefix, newline, suffix and end together.
    pub text_length: usize,
    /// Whether the vision tower is left as it is.
    pub freeze_vision: bool,
    /// Which of the answers of a row is learnt.
    pub target: Target,
    /// How pictures are varied.
    pub augmentation: Augmentation,
    /// The frames of a clip, where the pictures are that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frames: Option<Frames>,
    /// What else a row must be like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The file that says so.
    pub source: String,
}

/// Frames of a clip.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Frames {
    /// How many.
    pub count: usize,
    /// Frames of the clip from one to the next.
    pub stride: usize,
}

static TABLE: LazyLock<Vec<Preset>> = LazyLock::new(|| {
    serde_json::from_str(include_str!("presets.json")).expect("a test reads the table")
});

impl Preset {
    /// All of them, by name and resolution.
    pub fn all() -> &'static [Self] {
        &TABLE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sound() {
        let all = Preset::all();
        assert_eq!(all.len(), 64);
        let key = |preset: &Preset| (preset.name.clone(), preset.resolution);
        assert!(all.is_sorted_by(|a, b| key(a) < key(b)));
        for preset in all {
            assert!([224, 448, 896].contains(&preset.resolution), "{preset:?}");
            assert!((1e-6..1e-4).contains(&preset.learning_rate), "{preset:?}");
            // By convention a tenth of the learning rate, or nothing; `forkme` alone has less.
            let share = preset.weight_decay / preset.learning_rate;
            let is_usual = share == 0.0 || (share - 0.1).abs() < 1e-9;
            assert!(is_usual || preset.name == "forkme", "{preset:?}");
            assert!(preset.label_smoothing <= 0.4 && preset.dropout <= 0.3, "{preset:?}");
            assert!(!preset.metrics.is_empty() && preset.beams > 0, "{preset:?}");
        }
    }

    #[test]
    fn rows_are_what_the_paper_reports() {
        let of = |name, resolution| Preset::find(name, resolution).unwrap();
        let refcoco = of("refcoco_seg", 224);
        assert_eq!((refcoco.epochs, refcoco.batch_size), (100, 256));
        assert!((refcoco.learning_rate - 3e-5).abs() < 1e-12);
        assert!((refcoco.label_smoothing - 0.3).abs() < 1e-12);
        assert_eq!(of("infovqa", 896).batch_size, 32);
        assert!(of("gqa", 448).freeze_vision && !of("gqa", 224).freeze_vision);
        assert_eq!((of("cococap", 224).beams, of("textcaps", 448).beams), (2, 3));
        assert_eq!(of("msvd_qa", 224).frames, Some(Frames { count: 8, stride: 26 }));
    }
}
