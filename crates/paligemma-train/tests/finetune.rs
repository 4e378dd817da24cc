//! A run that is broken off and taken up comes to the same bits as one that is not.

mod support;

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use burn_flex::{Flex, FlexDevice};
use paligemma::{DeviceSpec, Place, Storage};
use paligemma_nn::PackedFormat;
use paligemma_train::{
    Event, Finetune, FinetuneError, LoraSettings, Outcome, Peers, RunDirectory, Settings,
};

use support::data;

fn run(
    settings: &Settings,
    folder: &Path,
    storage: Storage,
    stop_after: usize,
) -> Result<Outcome, FinetuneError> {
    let (place, run) = (Place::Embedded, RunDirectory::create(folder).unwrap());
    let (device, judge, peers) = (DeviceSpec::Flex, None, &Peers::alone());
    let finetune = Finetune { settings, place: &place, run: &run, storage, device, judge, peers };
    finetune.run::<Flex>(&FlexDevice, |event| match event {
        Event::Step { steps, .. } if steps == stop_after => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    })
}

/// The newest checkpoint's weights, and the log.
fn left(folder: &Path, weights: &str) -> Vec<Vec<u8>> {
    let newest = folder.join(fs::read_to_string(folder.join("latest")).unwrap());
    let files = [newest.join(weights), folder.join("metrics.jsonl")];
    files.iter().map(|path| fs::read(path).unwrap()).collect()
}

fn is_the_same_when_taken_up(settings: &Settings, storage: Storage, weights: &str) {
    let folder = tempfile::tempdir().unwrap();
    let [whole, broken] = ["whole", "broken"].map(|name| folder.path().join(name));
    assert_eq!(run(settings, &whole, storage, 0).unwrap(), Outcome::Done);
    let stopped = run(settings, &broken, storage, 3).unwrap();
    assert_eq!(stopped, Outcome::Stopped { steps: 3, total: 8 });
    // What a kill after the checkpoint would leave.
    let log = broken.join("metrics.jsonl");
    let text = fs::read_to_string(&log).unwrap() + r#"{"step":4,"epoch":1.6,"loss":9.9}"# + "\n{";
    fs::write(&log, text).unwrap();
    assert_eq!(run(settings, &broken, storage, 0).unwrap(), Outcome::Done);
    assert!(left(&whole, weights) == left(&broken, weights), "the runs differ");
}

#[test]
fn a_full_run_goes_on_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let settings = data(folder.path());
    let f32 = Storage::Dense(burn::tensor::FloatDType::F32);
    is_the_same_when_taken_up(&settings, f32, "model.safetensors");
}

#[test]
fn adapters_over_packed_matrices_go_on_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let lora = Some(LoraSettings { rank: 4, alpha: 8.0, dropout: 0.2 });
    let settings = Settings { lora, recompute: true, ..data(folder.path()) };
    let int8 = Storage::Packed(PackedFormat::Int8);
    is_the_same_when_taken_up(&settings, int8, "adapter_model.safetensors");
}

#[test]
fn what_cannot_be_trained_is_refused_before_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let settings = data(folder.path());
    let f32 = Storage::Dense(burn::tensor::FloatDType::F32);
    let message = |settings: &Settings| {
        run(settings, &folder.path().join("run"), f32, 0).unwrap_err().to_string()
    };
    let short = Settings { text_length: Some(5), ..settings.clone() };
    let told = message(&short);
    assert!(told.contains("example 1 of") && told.contains("more than 5"), "{told}");
    let none = Settings { epochs: 0, ..settings.clone() };
    assert_eq!(message(&none), "the number of epochs is 0, but must be at least 1");
    let unknown = Settings { train: Some("vision_towers".to_owned()), ..settings };
    assert!(message(&unknown).contains("`vision_towers` fits no parameter"));
}
