//! Two workers that train together are one that takes the examples of both.

mod support;

use std::ops::ControlFlow;
use std::path::Path;
use std::thread;

use burn_flex::{Flex, FlexDevice};
use paligemma::image::{Rgb, RgbImage};
use paligemma::{DeviceSpec, Place, Storage};
use paligemma_train::{
    Finetune, FinetuneError, LoraSettings, Outcome, Peers, PeersError, RunDirectory, Settings,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safetensors::SafeTensors;

use support::data;

fn run(settings: &Settings, folder: &Path, peers: &Peers) -> Result<Outcome, FinetuneError> {
    let (place, run) = (Place::Embedded, RunDirectory::create(folder).unwrap());
    let (storage, device) = (Storage::Dense(burn::tensor::FloatDType::F32), DeviceSpec::Flex);
    let judge = None;
    let finetune = Finetune { settings, place: &place, run: &run, storage, device, judge, peers };
    finetune.run::<Flex>(&FlexDevice, |_| ControlFlow::Continue(()))
}

/// A run of as many workers as there are settings, threads of this process.
fn together(settings: &[Settings], folder: &Path) -> Vec<Result<Outcome, FinetuneError>> {
    let count = settings.len();
    thread::scope(|scope| {
        let work = |(rank, settings)| {
            let peers = Peers::new(rank, count);
            scope.spawn(move || run(settings, folder, &peers))
        };
        let workers: Vec<_> = settings.iter().enumerate().map(work).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    })
}

/// The newest checkpoint's tensors, by name.
fn weights(folder: &Path, file: &str) -> Vec<(String, Vec<f32>)> {
    let newest = folder.join(std::fs::read_to_string(folder.join("latest")).unwrap());
    let bytes = std::fs::read(newest.join(file)).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let mut all: Vec<_> = tensors
        .tensors()
        .into_iter()
        .map(|(name, view)| {
            let (numbers, rest) = view.data().as_chunks();
            assert!(rest.is_empty());
            (name, numbers.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect())
        })
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

fn largest_difference(one: &Path, other: &Path, file: &str) -> f32 {
    let (one, other) = (weights(one, file), weights(other, file));
    assert!(!one.is_empty() && one.len() == other.len());
    let pairs = one.iter().zip(&other).flat_map(|(one, other)| {
        assert_eq!((&one.0, one.1.len()), (&other.0, other.1.len()));
        one.1.iter().zip(&other.1)
    });
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Pictures of noise in the place of those of one colour, where all weights of a patch that see a
/// channel have one gradient: where it is nothing but rounding, they would all follow its sign.
fn roughen(folder: &Path) {
    for (seed, name) in (0_u64..).zip(["red", "green", "blue", "yellow", "black"]) {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let picture = RgbImage::from_fn(112, 112, |_, _| Rgb(random.random()));
        picture.save(folder.join(format!("{name}.png"))).unwrap();
    }
}

/// One test, since the collectives of a process are one.
#[test]
fn two_workers_are_one_with_the_examples_of_both() {
    let folder = tempfile::tempdir().unwrap();
    let [alone, both, adapters, adapters_both, other] =
        ["alone", "both", "adapters", "adapters_both", "other"]
            .map(|name| folder.path().join(name));
    // The last of its eight steps has a single example, which leaves nothing to the second worker.
    let settings =
        Settings { dropout: 0.0, accumulate: 1, learning_rate: 5e-5, ..data(folder.path()) };
    roughen(folder.path());
    assert_eq!(run(&settings, &alone, &Peers::alone()).unwrap(), Outcome::Done);
    let two = [settings.clone(), settings.clone()];
    for outcome in together(&two, &both) {
        assert_eq!(outcome.unwrap(), Outcome::Done);
    }
    let error = largest_difference(&alone, &both, "model.safetensors");
    // Adam divides by the root of what gradients were: each of the eight steps moves a weight by up
    // to the rate, however small its gradient, whose rounding may then be seen.
    assert!(error < 5e-5, "{error}");
    let loss = support::losses_differ_by(&alone, &both);
    assert!(loss < 1e-4, "{loss}");

    let lora = Some(LoraSettings { rank: 4, alpha: 8.0, dropout: 0.0 });
    let settings = Settings { lora, learning_rate: 1e-3, ..settings };
    assert_eq!(run(&settings, &adapters, &Peers::alone()).unwrap(), Outcome::Done);
    let two = [settings.clone(), settings.clone()];
    for outcome in together(&two, &adapters_both) {
        assert_eq!(outcome.unwrap(), Outcome::Done);
    }
    assert!(support::losses_differ_by(&adapters, &adapters_both) < 1e-4);

    // Workers who were asked other things are refused, all of them.
    let two = [settings.clone(), Settings { seed: 8, ..settings }];
    for outcome in together(&two, &other) {
        let error = outcome.unwrap_err();
        assert!(matches!(error, FinetuneError::Peers(PeersError::Differ { .. })), "{error}");
    }
}
