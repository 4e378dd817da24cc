//! Steps of the recipe's AdamW through the trainer, against torch's on independent gradients.

use std::convert::Infallible;

use burn::tensor::FloatDType;
use burn_autodiff::Autodiff;
use paligemma_nn::NnBackend;
use paligemma_train::{HostBatch, Schedule, Settings, Stepped, Trainer, select};

use super::training::batch;
use super::{Bench, Measured, Quantity};

/// The golden case of every step.
const CASE: &str = "b_batch_right";

/// The recipe of `make_gradients.py`.
fn settings() -> Settings {
    Settings {
        learning_rate: 3e-3,
        weight_decay: 1e-2,
        clip: 0.5,
        ..Settings::new("golden".to_owned(), "golden".into())
    }
}

/// Warm-up, the top, and the way down are all met.
const SCHEDULE: Schedule = Schedule { steps: 5, warmup: 2 };

pub(super) fn measure<B: NnBackend>(bench: &Bench<B>) -> Vec<Measured> {
    let trained = Bench::<Autodiff<B>>::open(bench.golden, bench.device.clone(), bench.storage)
        .unwrap_or_else(|error| panic!("{error}"));
    let selection = settings().selection().unwrap_or_else(|error| panic!("{error}"));
    let (model, _) = select(trained.model, &selection).unwrap_or_else(|error| panic!("{error}"));
    let (settings, device) = (settings(), bench.device.clone());
    let mut trainer = Trainer::new(model, settings, selection, 1, FloatDType::F32, device);
    trainer.schedule = SCHEDULE;

    let host = || {
        let key = format!("{CASE}.in.pixel_values");
        let [pictures, _, side, _] = bench.golden.shape(&key)[..] else {
            panic!("{key} is pictures")
        };
        let (pixels, pad) = (bench.golden.floats(&key), bench.config.pad_token_id);
        HostBatch::new(pixels, pictures, side, batch(bench.golden, CASE), pad)
    };
    let [losses, norms] =
        ["losses", "norms"].map(|name| bench.golden.floats(&format!("steps.{name}")));
    let mut step = |_: &f32| trainer.step(vec![host()]).unwrap_or_else(|error| panic!("{error}"));
    let steps: Vec<Stepped> = norms.iter().map(&mut step).collect();
    let Ok(after) = trainer.measure(std::iter::once(Ok::<_, Infallible>(host())));
    let values = |one: fn(&Stepped) -> f64| steps.iter().map(move |step| one(step) as f32);
    let ours: Vec<f32> = values(|step| step.loss).chain([after as f32]).collect();
    let our_norms: Vec<f32> = values(|step| step.norm).collect();
    let tolerance = bench.tolerance();
    vec![
        Measured::difference("losses of four steps", &ours, &losses, tolerance),
        // Norms are of gradients that f32 knows so well, relative to the largest.
        Measured::relative("norms", &our_norms, &norms, bench.tolerance_of(Quantity::Gradient)),
    ]
}
