//! A run that is broken off and taken up comes to the same bits as one that is not, and trains what
//! it says.

mod support;

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use burn::tensor::FloatDType;
use burn_flex::{Flex, FlexDevice};
use paligemma::image::{Rgb, RgbImage};
use paligemma::{DeviceSpec, Model, Place, Storage, pocket};
use paligemma_checkpoint::{Checkpoint, PaliGemmaConfig, save_module};
use paligemma_nn::PackedFormat;
use paligemma_train::{
    Event, ExamplesError, Finetune, FinetuneError, LoraSettings, Outcome, Peers, Progress,
    RunDirectory, Settings,
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
    observed(place, settings, folder, storage, |event| match event {
        Event::Step { steps, .. } if steps == stop_after => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    })
}

fn observed(
    place: &Place,
    settings: &Settings,
    folder: &Path,
    storage: Storage,
    observe: impl FnMut(Event<'_>) -> ControlFlow<()>,
) -> Result<Outcome, FinetuneError> {
    let run = &RunDirectory::create(folder).unwrap();
    let (device, judge, peers) = (DeviceSpec::Flex, None, &Peers::alone());
    let finetune = Finetune { settings, place, run, storage, device, judge, peers };
    finetune.run::<Flex>(&FlexDevice, observe)
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

/// The newest checkpoint of a run.
fn latest(folder: &Path) -> (PathBuf, Progress) {
    RunDirectory::create(folder).unwrap().latest().unwrap().unwrap()
}

/// Cuts a picture off; what it was.
fn cut_off(picture: &Path) -> Vec<u8> {
    let whole = fs::read(picture).unwrap();
    fs::write(picture, &whole[..whole.len() / 2]).unwrap();
    whole
}

#[test]
fn a_picture_that_cannot_be_read_later_leaves_what_was_trained() {
    let folder = tempfile::tempdir().unwrap();
    let [whole, broken] = ["whole", "broken"].map(|name| folder.path().join(name));
    // No epoch ends before the fifth step, and no other checkpoint is due.
    let (epochs, batch_size, accumulate, save_every) = (2, 1, 1, 100);
    let settings = data(folder.path());
    let settings = Settings { epochs, batch_size, accumulate, save_every, ..settings };
    assert_eq!(run(&settings, &whole, F32, 0).unwrap(), Outcome::Done);

    let pictures = ["red", "green", "blue", "yellow", "black"]
        .map(|name| folder.path().join(format!("{name}.png")));
    // Four steps at most are prepared by the end of the first.
    let (mut were, mut trained) = (Vec::new(), 0);
    let error = observed(&Place::Embedded, &settings, &broken, F32, |event| {
        if let Event::Step { steps, .. } = event {
            trained = steps;
            if steps == 1 {
                were = pictures.iter().map(|picture| cut_off(picture)).collect();
            }
        }
        ControlFlow::Continue(())
    });
    let error = error.unwrap_err();
    assert!(matches!(error, FinetuneError::Examples(ExamplesError::Picture(_))), "{error}");
    assert!((1..5).contains(&trained), "{trained}");
    assert_eq!(latest(&broken).1.total, trained);

    for (picture, bytes) in pictures.iter().zip(were) {
        fs::write(picture, bytes).unwrap();
    }
    assert_eq!(run(&settings, &broken, F32, 0).unwrap(), Outcome::Done);
    let weights = "model.safetensors";
    assert!(left(&whole, weights) == left(&broken, weights), "the runs differ");
}

#[test]
fn a_picture_that_cannot_be_measured_leaves_the_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let [whole, broken] = ["whole", "broken"].map(|name| folder.path().join(name));
    let picture = folder.path().join("held_out.png");
    // Its header is whole where half of it is cut off.
    let colour = |x: u32, y: u32| Rgb([x as u8, y as u8, (x * y) as u8]);
    RgbImage::from_fn(112, 112, colour).save(&picture).unwrap();
    let rows = folder.path().join("held_out.jsonl");
    let row = r#"{"image": "held_out.png", "prefix": "caption en", "suffix": "a house"}"#;
    fs::write(&rows, row).unwrap();
    let settings = Settings { eval: Some(rows), save_every: 100, ..data(folder.path()) };
    assert_eq!(run(&settings, &whole, F32, 0).unwrap(), Outcome::Done);

    let bytes = cut_off(&picture);
    // The first epoch, and then again: nothing is trained beyond what is to be measured.
    for _ in 0..2 {
        let error = run(&settings, &broken, F32, 0).unwrap_err();
        assert!(matches!(error, FinetuneError::Examples(ExamplesError::Picture(_))), "{error}");
        assert_eq!(latest(&broken).1.total, 3);
    }
    // A run that is taken up adds its seconds to those of before.
    let (checkpoint, progress) = latest(&broken);
    let long = serde_json::to_vec(&Progress { seconds: 1e6, ..progress }).unwrap();
    fs::write(checkpoint.join("progress.json"), long).unwrap();

    fs::write(&picture, bytes).unwrap();
    // Nor does it go on with other examples.
    let rows = fs::read_to_string(&settings.data).unwrap();
    fs::write(&settings.data, rows.lines().next().unwrap()).unwrap();
    let error = run(&settings, &broken, F32, 0).unwrap_err();
    assert!(matches!(error, FinetuneError::OtherExamples { .. }), "{error}");
    fs::write(&settings.data, rows).unwrap();
    assert_eq!(run(&settings, &broken, F32, 0).unwrap(), Outcome::Done);
    assert!(latest(&broken).1.seconds > 1e6);
    let weights = "model.safetensors";
    assert!(left(&whole, weights) == left(&broken, weights), "the runs differ");
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
