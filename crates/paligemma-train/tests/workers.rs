//! Two workers that train together are one that takes the examples of both.

mod support;

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::mpsc;
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

/// The losses that are compared: those of the first epoch's steps.
const FIRST: usize = 3;

fn run(settings: &Settings, folder: &Path, peers: &Peers) -> Result<Outcome, FinetuneError> {
    let (place, run) = (Place::Embedded, RunDirectory::create(folder).unwrap());
    let (storage, device) = (Storage::Dense(burn::tensor::FloatDType::F32), DeviceSpec::Flex);
    let judge = None;
    let finetune = Finetune { settings, place: &place, run: &run, storage, device, judge, peers };
    finetune.run::<Flex>(&FlexDevice, |_| ControlFlow::Continue(()))
}

/// A run of two workers, threads of this process: what comes of each, as it ends. So a failure is
/// seen at once, even of a worker whom the other still waits for.
fn together(
    settings: [Settings; 2],
    folder: &Path,
) -> mpsc::IntoIter<Result<Outcome, FinetuneError>> {
    let (sender, outcomes) = mpsc::channel();
    let count = settings.len();
    for (rank, settings) in settings.into_iter().enumerate() {
        let (folder, sender) = (folder.to_owned(), sender.clone());
        let peers = Peers::new(rank, count);
        thread::spawn(move || sender.send(run(&settings, &folder, &peers)));
    }
    outcomes.into_iter()
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

/// Both workers are done.
fn train(settings: &Settings, folder: &Path) {
    let outcomes = together([settings.clone(), settings.clone()], folder);
    let outcomes: Vec<Outcome> = outcomes.map(Result::unwrap).collect();
    assert_eq!(outcomes, [Outcome::Done; 2]);
}

/// How far two models are apart, but for the biases of keys: attention does not change by what is
/// added to all keys alike, so their gradient is rounding alone, whose sign Adam follows.
fn largest_difference(one: &Path, other: &Path) -> f32 {
    let compared = |folder: &Path| {
        let mut all = weights(folder, "model.safetensors");
        all.retain(|(name, _)| !name.ends_with("k_proj.bias"));
        all
    };
    let (one, other) = (compared(one), compared(other));
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
    train(&settings, &both);
    let error = largest_difference(&alone, &both);
    // Adam divides by the root of what gradients were: a step moves a weight by up to the rate, and
    // all eight by up to four times that, however small its gradient. Rounding is seen in a part of
    // that; gradients of other examples would be seen in all of it.
    assert!(error < 5e-5, "{error}");
    // Later losses are those of weights that differ by then, which says less with every step.
    let loss = support::losses_differ_by(&alone, &both, FIRST);
    assert!(loss < 5e-5, "{loss}");

    let lora = Some(LoraSettings { rank: 4, alpha: 8.0, dropout: 0.0 });
    let settings = Settings { lora, learning_rate: 1e-3, ..settings };
    assert_eq!(run(&settings, &adapters, &Peers::alone()).unwrap(), Outcome::Done);
    train(&settings, &adapters_both);
    let loss = support::losses_differ_by(&adapters, &adapters_both, FIRST);
    assert!(loss < 5e-5, "{loss}");

    // Workers who were asked other things are refused, all of them.
    let two = [settings.clone(), Settings { seed: 8, ..settings }];
    let errors: Vec<FinetuneError> = together(two, &other).map(Result::unwrap_err).collect();
    assert_eq!(errors.len(), 2);
    for error in errors {
        assert!(matches!(error, FinetuneError::Peers(PeersError::Differ { .. })), "{error}");
    }
}
