//! Several answers, beams and rules, with the embedded model.

use std::sync::{Arc, LazyLock};

use paligemma::image::{Rgb, RgbImage};
use paligemma::{
    Answer, DetectionOptions, DeviceSpec, Dtype, Error, FinishReason, Items, Options, PaliGemma,
    Request, Sampling, Scene,
};

static MODEL: LazyLock<PaliGemma> =
    LazyLock::new(|| PaliGemma::pocket(DeviceSpec::Flex, Dtype::F32).unwrap());

const DRAWS: Sampling = Sampling::Random { temperature: 2.0, top_k: None, top_p: None };

/// A red and a blue square.
fn scene() -> Scene {
    let picture = RgbImage::from_fn(112, 112, |x, y| match (x, y) {
        (20..=50, 15..=45) => Rgb([220, 30, 40]),
        (65..=100, 60..=95) => Rgb([30, 60, 220]),
        _ => Rgb([200, 200, 190]),
    });
    MODEL.encode(&[picture])
}

fn request(prompt: &str, options: Options) -> Request {
    Request { scene: scene(), prompt: prompt.to_owned(), options, constraint: None }
}

/// The total that scoring the same answer gives.
fn scored(answer: &Answer, prompt: &str) -> f32 {
    MODEL.score(&scene(), prompt, &[&answer.text]).unwrap()[0].total()
}

#[test]
fn draws_are_those_of_the_next_seeds_once_each_and_best_first() {
    let options = Options { sampling: DRAWS, seed: 5, max_new_tokens: 6, ..Options::default() };
    let request = request("answer en what color is it?", options);
    let together = MODEL.answers(&request, 6).unwrap();
    let mut alone = Vec::new();
    for seed in 5..11 {
        let options = Options { seed, ..options };
        alone.push(MODEL.generate(&Request { options, ..request.clone() }).unwrap());
    }
    for answer in &alone {
        assert!(together.iter().any(|other| other.token_ids == answer.token_ids), "{answer:?}");
    }
    for (at, answer) in together.iter().enumerate() {
        assert!(alone.iter().any(|other| other.token_ids == answer.token_ids), "{answer:?}");
        assert!(together[..at].iter().all(|other| other.token_ids != answer.token_ids));
    }
    assert!(together.is_sorted_by(|a, b| a.mean() >= b.mean()));
}

#[test]
fn answers_that_end_early_leave_the_others_what_they_are_alone() {
    let requests = [1, 9, 2, 3, 12, 2].map(|max_new_tokens| {
        request("caption en", Options { max_new_tokens, ..Options::default() })
    });
    let together = MODEL.batch(&requests).unwrap();
    for (answer, request) in together.iter().zip(&requests) {
        let alone = MODEL.generate(request).unwrap();
        assert_eq!((&answer.text, &answer.token_ids), (&alone.text, &alone.token_ids));
        assert_eq!(answer.finish_reason, alone.finish_reason);
    }
}

#[test]
fn beams_have_the_probability_that_scoring_gives_them() {
    let prompt = "caption en";
    let request = request(prompt, Options { num_beams: 4, ..Options::default() });
    let answers = MODEL.answers(&request, 4).unwrap();
    assert_eq!(answers.len(), 4);
    assert!(answers.is_sorted_by(|a, b| a.mean() >= b.mean()));
    for answer in &answers {
        assert_eq!(answer.finish_reason, FinishReason::Stop, "{answer:?}");
        assert_eq!(answer.usage.completion_tokens, answer.token_ids.len());
        let (total, again) = (answer.total(), scored(answer, prompt));
        assert!((total - again).abs() < 1e-3, "{answer:?}: {total} {again}");
        assert!((answer.probability() - again.exp()).abs() < 1e-3);
    }
    assert_eq!(MODEL.generate(&request).unwrap(), answers[0]);
    assert_eq!(MODEL.batch(&[request.clone(), request]).unwrap()[1], answers[0]);
}

#[test]
fn one_beam_is_greedy() {
    let request = request("caption en", Options::default());
    assert_eq!(MODEL.answers(&request, 1).unwrap(), [MODEL.generate(&request).unwrap()]);
}

#[test]
fn what_cannot_be_combined_is_refused() {
    let of =
        |num_beams, sampling| request("ocr", Options { num_beams, sampling, ..Options::default() });
    let answers = |request, count| MODEL.answers(&request, count);
    assert!(matches!(answers(of(0, Sampling::Greedy), 1), Err(Error::TooManyAnswers { .. })));
    assert!(matches!(answers(of(2, Sampling::Greedy), 3), Err(Error::TooManyAnswers { .. })));
    assert!(matches!(answers(of(2, DRAWS), 2), Err(Error::Sampling { .. })));
    assert!(matches!(answers(of(1, DRAWS), 0), Err(Error::Nothing { .. })));
    assert!(MODEL.stream(&of(2, Sampling::Greedy)).is_err());
    assert!(MODEL.generate(&of(0, Sampling::Greedy)).is_err());
}

/// The embedded model was never taught these: what it would say alone is anything at all.
const THINGS: [&str; 2] = ["zebra", "red square with 2 wheels"];

#[test]
fn a_rule_holds_however_tokens_are_chosen() {
    let items = Items::boxes(MODEL.tokenizer(), &THINGS).unwrap();
    let mut request = request("caption en", Options { max_new_tokens: 70, ..Options::default() });
    request.constraint = Some(Arc::new(items));
    let mut answers = vec![MODEL.generate(&request).unwrap()];
    answers.extend(MODEL.batch(&[request.clone(), request.clone()]).unwrap());
    request.options.num_beams = 3;
    answers.extend(MODEL.answers(&request, 3).unwrap());
    request.options = Options { num_beams: 1, sampling: DRAWS, ..request.options };
    answers.extend(MODEL.answers(&request, 4).unwrap());
    let mut boxes = 0;
    for answer in answers {
        let found = paligemma::tasks::boxes(&answer, MODEL.tokenizer(), (640, 480));
        let items = answer.text.split(" ; ").filter(|item| !item.is_empty()).count();
        assert_eq!(found.len(), items, "{}", answer.text);
        assert!(found.iter().all(|one| THINGS.contains(&&*one.label)), "{}", answer.text);
        // What a rule forces is as improbable as the model finds it.
        assert!(answer.log_probabilities.iter().all(|&value| value <= 0.0));
        assert_eq!(answer.log_probabilities.len(), answer.token_ids.len());
        boxes += items;
    }
    assert!(boxes > 0);
}

#[test]
fn detection_finds_the_squares_with_and_without_the_rule() {
    let things = ["red square", "blue square"];
    let free = DetectionOptions::default();
    let constrained = DetectionOptions { constrained: true, ..free };
    for options in [free, constrained] {
        let found = MODEL.detect_with(&scene(), &things, &options).unwrap();
        let labels: Vec<_> = found.boxes.iter().map(|one| &*one.label).collect();
        assert_eq!(labels, things, "{}", found.answer.text);
        for (found, [x0, y0, x1, y1]) in
            found.boxes.iter().zip([[20.0, 15.0, 51.0, 46.0], [65.0, 60.0, 101.0, 96.0]])
        {
            let label = found.label.clone();
            let truth = paligemma::DetectedBox { label, x0, y0, x1, y1, confidence: 1.0 };
            assert!(found.iou(&truth) > 0.7, "{found:?}");
            assert!(found.confidence > 0.01 && found.confidence <= 1.0, "{found:?}");
        }
    }
    let blind = MODEL.encode(&[]);
    assert!(matches!(MODEL.detect_with(&blind, &things, &free), Err(Error::Nothing { .. })));
}
