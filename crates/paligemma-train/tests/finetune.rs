//! A run that is broken off and taken up comes to the same bits as one that is not, and trains what
//! it says.

mod support;

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use burn::tensor::FloatDType;
use burn_flex::{Flex, FlexDevice};
use paligemma::{DeviceSpec, Model, Place, Storage, pocket};
use paligemma_checkpoint::{Checkpoint, PaliGemmaConfig, save_module};
use paligemma_nn::PackedFormat;
use paligemma_train::{
    Event, Finetune, FinetuneError, LoraSettings, Outcome, Peers, RunDirectory, Settings,
};
use safetensors::SafeTensors;

use support::data;

const F32: Storage = Storage::Dense(FloatDType::F32);

fn run(
    settings: &Settings,
    folder: &Path,
    storage: Storage,
    stop_after: usize,
) -> Result<Outcome, FinetuneError> {
    run_of(&Place::Embedded, settings, folder, storage, stop_after)
}

fn run_of(
    place: &Place,
    settings: &Settings,
    folder: &Path,
    storage: Storage,
    stop_after: usize,
) -> Result<Outcome, FinetuneError> {
    let run = &RunDirectory::create(folder).unwrap();
    let (device, judge, peers) = (DeviceSpec::Flex, None, &Peers::alone());
    let finetune = Finetune { settings, place, run, storage, device, judge, peers };
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
    is_the_same_when_taken_up(&settings, F32, "model.safetensors");
}

#[test]
fn adapters_over_packed_matrices_go_on_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let lora = Some(LoraSettings { rank: 4, alpha: 8.0, dropout: 0.2 });
    let settings = Settings { lora, recompute: true, ..data(folder.path()) };
    let int8 = Storage::Packed(PackedFormat::Int8);
    is_the_same_when_taken_up(&settings, int8, "adapter_model.safetensors");
}

/// The tensors of a loaded checkpoint that one step changes, and those that it leaves bit for bit.
fn moved_and_kept(train: &str) -> [Vec<String>; 2] {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().join("base");
    fs::create_dir(&base).unwrap();
    for (name, contents) in [
        ("config.json", pocket::CONFIG.as_bytes()),
        ("tokenizer.json", pocket::TOKENIZER),
        ("model.safetensors", pocket::WEIGHTS),
    ] {
        fs::write(base.join(name), contents).unwrap();
    }
    let settings = data(folder.path());
    // All examples in one step, which has no warm-up.
    let (train, out) = (Some(train.to_owned()), folder.path().join("run"));
    let settings = Settings { train, eval: None, epochs: 1, batch_size: 5, ..settings };
    let place = Place::Folder(base.clone());
    assert_eq!(run_of(&place, &settings, &out, F32, 0).unwrap(), Outcome::Done);

    // What was there before, in the type that checkpoints of a run have.
    let config = PaliGemmaConfig::open(&base).unwrap();
    let checkpoint = Checkpoint::open(&base).unwrap();
    let (model, _) = Model::<Flex>::load(&config, &checkpoint, F32, &FlexDevice, |_| ()).unwrap();
    let before = folder.path().join("before");
    save_module(&model, &before, &config, None).unwrap();
    let read = |folder: &Path| fs::read(folder.join("model.safetensors")).unwrap();
    let (before, after) = (read(&before), read(&out.join("step-0000001")));
    let [before, after] = [&before, &after].map(|file| SafeTensors::deserialize(file).unwrap());
    assert_eq!(before.len(), after.len());
    let names = before.names().into_iter().map(ToString::to_string);
    let data = |file: &SafeTensors<'_>, name: &str| file.tensor(name).unwrap().data().to_vec();
    let (moved, kept) = names.partition(|name| data(&before, name) != data(&after, name));
    [moved, kept]
}

#[test]
fn all_of_a_loaded_checkpoint_is_trained() {
    let [moved, kept] = moved_and_kept("full");
    assert_eq!(kept, Vec::<String>::new());
    for part in ["vision_tower.", "multi_modal_projector.", "language_model."] {
        assert!(moved.iter().any(|name| name.starts_with(part)), "{part}");
    }
}

#[test]
fn a_frozen_tower_keeps_its_bits() {
    let [moved, kept] = moved_and_kept("frozen-vision");
    assert!(!kept.is_empty() && kept.iter().all(|name| name.starts_with("vision_tower.")));
    assert!(!moved.iter().any(|name| name.starts_with("vision_tower.")), "{moved:?}");
    assert!(moved.iter().any(|name| name.starts_with("multi_modal_projector.")));
}

#[test]
fn what_cannot_be_trained_is_refused_before_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let settings = data(folder.path());
    let message = |settings: &Settings| {
        run(settings, &folder.path().join("run"), F32, 0).unwrap_err().to_string()
    };
    let short = Settings { text_length: Some(5), ..settings.clone() };
    let told = message(&short);
    assert!(told.contains("example 1 of") && told.contains("more than 5"), "{told}");
    let none = Settings { epochs: 0, ..settings.clone() };
    assert_eq!(message(&none), "the number of epochs is 0, but must be at least 1");
    let unknown = Settings { train: Some("vision_towers".to_owned()), ..settings };
    assert!(message(&unknown).contains("`vision_towers` fits no parameter"));
}
