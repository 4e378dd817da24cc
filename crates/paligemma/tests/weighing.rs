//! What holds of labels and texts whatever they are and in whatever order they come.

use std::sync::LazyLock;

use paligemma::image::{Rgb, RgbImage};
use paligemma::{Classify, DeviceSpec, Dtype, PaliGemma, Scene};
use proptest::prelude::*;
use proptest::sample::subsequence;

const WORDS: [&str; 14] = [
    "red",
    "blue",
    "a large blue square",
    "a small red circle",
    "star",
    "7",
    "two",
    "yes",
    "no",
    "a large blue square and a small red circle",
    "<loc0000>",
    "é",
    "left of",
    "q  q",
];

struct Seen {
    model: PaliGemma,
    scene: Scene,
}

/// A blue square, seen by the embedded model.
static SEEN: LazyLock<Seen> = LazyLock::new(|| {
    let picture = RgbImage::from_fn(112, 112, |x, y| match (x, y) {
        (40..76, 30..66) => Rgb([44, 84, 220]),
        _ => Rgb([190, 190, 180]),
    });
    let model = PaliGemma::pocket(DeviceSpec::Auto, Dtype::F32).unwrap();
    let scene = model.encode(&[picture]);
    Seen { model, scene }
});

/// Some of the words, in order and shuffled.
fn words() -> impl Strategy<Value = (Vec<&'static str>, Vec<&'static str>)> {
    let some = subsequence(WORDS.to_vec(), 1..=WORDS.len());
    some.prop_flat_map(|words| (Just(words.clone()), Just(words).prop_shuffle()))
}

/// The same in another place of a batch: sums in another order.
const SAME: f32 = 1e-4;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn labels_weigh_the_same_in_any_order(
        (words, shuffled) in words(),
        normalised: bool,
        calibrated: bool,
    ) {
        let Seen { model, scene } = &*SEEN;
        let how = Classify { normalised, calibrated, ..Classify::default() };
        let [one, other] =
            [words, shuffled].map(|words| model.classify(scene, &words, &how).unwrap());
        let sum: f32 = one.iter().map(|label| label.probability).sum();
        prop_assert!((sum - 1.0).abs() < 1e-5, "{sum}");
        prop_assert!(one.is_sorted_by(|a, b| a.probability >= b.probability));
        for label in &one {
            let same = other.iter().find(|other| other.text == label.text).unwrap();
            prop_assert!((same.log_likelihood - label.log_likelihood).abs() < SAME);
            prop_assert!((same.probability - label.probability).abs() < SAME);
            prop_assert_eq!(same.tokens, label.tokens);
        }
    }

    #[test]
    fn texts_match_the_same_in_any_order((words, shuffled) in words()) {
        let Seen { model, scene } = &*SEEN;
        let [one, other] = [words, shuffled].map(|words| model.rank_texts(scene, &words).unwrap());
        prop_assert!(one.is_sorted_by(|a, b| a.score() >= b.score()));
        for found in &one {
            let same = other.iter().find(|other| other.text == found.text).unwrap();
            prop_assert!((same.score() - found.score()).abs() < SAME);
            let alone = model.match_text(scene, &found.text).unwrap();
            prop_assert!((alone.score() - found.score()).abs() < SAME);
        }
    }
}
