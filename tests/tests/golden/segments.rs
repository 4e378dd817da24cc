//! Masks in pictures, from the tokens of an answer: what the reference decodes, where its box is.

use paligemma::{
    Answer, DetectionOptions, DeviceSpec, Dtype, FinishReason, LocationScale, PaliGemma, Usage,
};
use paligemma_tests::reference;

/// One pixel for each step of a location: `<loc0100>` is the edge of pixel 100.
const PICTURE: (u32, u32) = (1023, 1023);
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/masks/vae.npz");

/// A model with the golden mask VQ-VAE, on a CPU.
fn model() -> PaliGemma {
    let devices = [DeviceSpec::Flex, DeviceSpec::NdArray];
    let device = devices.into_iter().find(|device| device.resolve().is_ok()).unwrap();
    let model = PaliGemma::pocket(device, Dtype::F32).unwrap();
    model.with_masks(FILE.as_ref()).unwrap()
}

fn answer(model: &PaliGemma, text: &str) -> Answer {
    let token_ids = model.tokenizer().encode_suffix(text).unwrap();
    Answer {
        text: text.to_owned(),
        log_probabilities: vec![-0.5; token_ids.len()],
        token_ids,
        end_log_probability: None,
        finish_reason: FinishReason::Stop,
        usage: Usage::default(),
    }
}

/// The codes of a golden mask as tokens, and its values.
fn golden(row: usize) -> (String, Vec<f32>) {
    let codes = reference::MASKS.integers("masks.any_codes");
    let values = reference::MASKS.floats("masks.any_decoded");
    let codes = codes[16 * row..][..16].iter().map(|code| format!("<seg{code:03}>"));
    (codes.collect(), values[64 * 64 * row..][..64 * 64].to_vec())
}

#[test]
#[cfg_attr(not(any(feature = "flex", feature = "ndarray")), ignore = "this build has no CPU")]
fn masks_are_where_their_boxes_are() {
    let model = model();
    let [(first, values), (second, _)] = [golden(0), golden(1)];
    // A box of 64 x 64 pixels shows the mask as it is; what has no mask is left out.
    let text = format!(
        "<loc0200><loc0100><loc0264><loc0164>{first} red ball ; \
         <loc0000><loc0000><loc1023><loc1023> cat ; \
         <loc0500><loc0600><loc0900><loc0700>{second} cat"
    );
    let (answer, options) = (answer(&model, &text), DetectionOptions::default());
    let segments = model.segments(&answer, &["red ball", "cat"], PICTURE, &options).unwrap();
    let labels: Vec<&str> = segments.iter().map(|segment| &*segment.found.label).collect();
    assert_eq!(labels, ["red ball", "cat"]);
    let [ball, cat] = &*segments else { panic!("{labels:?}") };
    assert!((ball.found.confidence - (-0.5_f32).exp()).abs() < 1e-6);

    assert_eq!(ball.soft.edges(), [100, 200, 164, 264]);
    let range = values.iter().fold(0.0_f32, |range, value| range.max(value.abs()));
    for (ours, theirs) in ball.soft.values().iter().zip(&values) {
        assert!((ours - theirs).abs() <= 1e-4 * range, "{ours} and {theirs}");
    }
    assert_eq!(ball.mask.dimensions(), PICTURE);
    assert_eq!(ball.mask.area(), values.iter().filter(|value| **value > 0.0).count());
    let [x0, y0, x1, y1] = cat.mask.bounds().unwrap();
    assert!(x0 >= 600 && y0 >= 500 && x1 <= 700 && y1 <= 900);
}

#[test]
#[cfg_attr(not(any(feature = "flex", feature = "ndarray")), ignore = "this build has no CPU")]
fn options_are_those_of_detection() {
    let model = model();
    let (codes, _) = golden(2);
    let boxes = "<loc0000><loc0000><loc1000><loc1000>";
    let answer = answer(&model, &format!("{boxes}{codes} ; {boxes}{codes}"));
    let count = |max_overlap| {
        let options = DetectionOptions { max_overlap, ..DetectionOptions::default() };
        model.segments(&answer, &["cat "], PICTURE, &options).unwrap().len()
    };
    assert_eq!((count(Some(0.5)), count(None)), (1, 2));

    let scale = LocationScale::Of1024;
    let options = DetectionOptions { scale, ..DetectionOptions::default() };
    let segments = model.segments(&answer, &["cat "], (1024, 512), &options).unwrap();
    assert_eq!(segments[0].found.label, "cat", "the only thing asked for");
    assert_eq!(segments[0].soft.edges(), [0, 0, 1000, 500]);
    assert_eq!(
        model.segments(&answer, &["cat", "dog"], PICTURE, &options).unwrap()[0].found.label,
        ""
    );
}
