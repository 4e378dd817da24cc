//! What metrics say of sets they cannot score, and what holds of any set.

use paligemma_metrics::{
    Detection, Examples, Kind, Mask, Metric, MetricError, Picture, Rect, Referred, Region, Text,
    Truth, caption_words, exact_match, exact_match_lower, mask_iou, vqa_any_three,
};
use proptest::prelude::*;

fn text(prediction: &str, references: &[&str]) -> Text {
    let references = references.iter().map(|&reference| reference.to_owned()).collect();
    Text { prediction: prediction.to_owned(), references }
}

fn rect(x: f64, y: f64, width: f64, height: f64) -> Rect {
    Rect { x, y, width, height }
}

#[test]
fn names_are_read_and_unknown_ones_told() {
    for metric in Metric::all() {
        assert_eq!(metric.to_string().parse(), Ok(metric));
    }
    let said = "meteor".parse::<Metric>().unwrap_err().to_string();
    assert!(said.contains("`meteor`") && said.contains("exact-lower, vqa, "), "{said}");
}

#[test]
fn sets_that_do_not_suit_are_refused() {
    let score = |metric: Metric, texts: &[Text]| metric.score(&Examples::Texts(texts)).unwrap_err();
    assert_eq!(score(Metric::Anls, &[]), MetricError::Empty);
    let (metric, given) = (Metric::AveragePrecision, Kind::Texts);
    assert_eq!(score(metric, &[text("a", &["a"])]), MetricError::Kind { metric, given });
    let metric = Metric::Exact;
    let bare = [text("a", &["a"]), text("a", &[])];
    assert_eq!(score(metric, &bare), MetricError::NoReference { metric, example: 2 });
    let metric = Metric::Vqa;
    let few = MetricError::TooFewReferences { metric, example: 1, least: 4, given: 3 };
    assert_eq!(score(metric, &[text("a", &["a", "a", "a"])]), few);
    let metric = Metric::Accuracy;
    let many = MetricError::TooManyReferences { metric, example: 1, given: 2 };
    assert_eq!(score(metric, &[text("a", &["a", "b"])]), many);
    let region = Region { rect: rect(0.0, 0.0, 1.0, 1.0), mask: None };
    let regions = [Referred { prediction: None, reference: region }];
    let metric = Metric::MeanIou;
    let no_mask = metric.score(&Examples::Regions(&regions)).unwrap_err();
    assert_eq!(no_mask, MetricError::NoMask { metric, example: 1 });
    assert_eq!(Mask::new(2, [true; 3]), Err(MetricError::Rows { width: 2, pixels: 3 }));
    let (wide, high) = (Mask::new(2, [true; 2]).unwrap(), Mask::new(1, [true; 2]).unwrap());
    assert!(mask_iou(&wide, &high).is_err());
}

#[test]
fn matches_are_exact_in_their_case() {
    let as_bits = |scores: [f64; 2]| scores.map(f64::to_bits);
    let exact = [exact_match("Yes", &["yes"]), exact_match("yes", &["no", "yes"])];
    assert_eq!(as_bits(exact), as_bits([0.0, 1.0]));
    let lower = [exact_match_lower("YES", &["Yes"]), exact_match_lower("y", &["yes"])];
    assert_eq!(as_bits(lower), as_bits([1.0, 0.0]));
    assert!((vqa_any_three("a", &["a", "b", "a"]) - 2.0 / 3.0).abs() < 1e-15);
    assert!((vqa_any_three("a", &["a"; 5]) - 1.0).abs() < 1e-15);
}

#[test]
fn regions_that_were_not_found_overlap_nothing() {
    let whole =
        Region { rect: rect(0.0, 0.0, 2.0, 2.0), mask: Some(Mask::new(2, [true; 4]).unwrap()) };
    let half = Region {
        rect: rect(0.0, 0.0, 2.0, 1.0),
        mask: Some(Mask::new(2, [true, true, false, false]).unwrap()),
    };
    let regions = [
        Referred { prediction: Some(whole.clone()), reference: whole.clone() },
        Referred { prediction: Some(half), reference: whole.clone() },
        Referred { prediction: None, reference: whole },
    ];
    let masks = Metric::MeanIou.score(&Examples::Regions(&regions)).unwrap();
    assert_eq!(masks.scores, [1.0, 0.5, 0.0]);
    let figure = |name: &str| masks.figures.iter().find(|(known, _)| *known == name).unwrap().1;
    let close = |name: &str, value: f64| assert!((figure(name) - value).abs() < 1e-12, "{name}");
    close("overall-iou", 6.0 / 12.0);
    close("box-accuracy-0.5", 2.0 / 3.0);
    close("box-accuracy-0.75", 1.0 / 3.0);
    close("found", 2.0 / 3.0);
    let boxes = Metric::BoxAccuracy.score(&Examples::Regions(&regions)).unwrap();
    assert_eq!(boxes.scores, [1.0, 1.0, 0.0]);
}

#[test]
fn things_found_where_they_are_have_full_precision() {
    let truth = |x: f64, side: f64| Truth {
        label: "cat".to_owned(),
        rect: rect(x, 0.0, side, side),
        area: side * side,
        crowd: false,
    };
    let truths = vec![truth(0.0, 10.0), truth(50.0, 40.0), truth(100.0, 100.0)];
    let found = truths.iter().map(|Truth { label, rect, .. }| Detection {
        label: label.clone(),
        rect: *rect,
        score: 0.5,
    });
    let pictures = [Picture { detections: found.collect(), truths }, Picture::default()];
    let report = Metric::AveragePrecision.score(&Examples::Pictures(&pictures)).unwrap();
    let figures: Vec<&str> = report.figures.iter().map(|(name, _)| *name).collect();
    assert_eq!(figures[..3], ["AP", "AP50", "AP75"]);
    for (name, value) in report.figures {
        // One of three with a single detection in the picture.
        let expected = if name == "AR1" { 1.0 / 3.0 } else { 1.0 };
        assert!((value - expected).abs() < 1e-9, "{name} {value}");
    }
    assert!(report.scores.iter().all(|score| (score - 1.0).abs() < 1e-9), "{:?}", report.scores);
}

/// Any box whose sides are far above the rounding of its edges.
fn some_rect() -> impl Strategy<Value = Rect> {
    let (edge, side) = (0.0..9.0_f64, 0.01..9.0_f64);
    (edge.clone(), edge, side.clone(), side).prop_map(|(x, y, w, h)| rect(x, y, w, h))
}

proptest! {
    #[test]
    fn words_are_plain(caption in "\\PC{0,40}", noise in any::<String>()) {
        for word in caption_words(&caption).iter().chain(&caption_words(&noise)) {
            prop_assert!(!word.is_empty() && !word.contains(char::is_whitespace), "{word:?}");
            prop_assert_eq!(&word.to_lowercase(), word);
        }
    }

    #[test]
    fn scores_are_fractions(
        cases in prop::collection::vec(("[a-c ]{0,9}", prop::collection::vec("[a-c ]{0,9}", 4..6)), 1..6),
    ) {
        let texts: Vec<Text> = cases
            .into_iter()
            .map(|(prediction, references)| Text { prediction, references })
            .collect();
        for metric in Metric::all().filter(|metric| metric.kind() == Kind::Texts) {
            if metric == Metric::Accuracy {
                continue;
            }
            let report = metric.score(&Examples::Texts(&texts)).unwrap();
            let most = if metric == Metric::Cider { 10.0 } else { 1.0 };
            prop_assert_eq!(report.scores.len(), texts.len());
            for score in report.scores.into_iter().chain([report.summary]) {
                prop_assert!((0.0..=most + 1e-9).contains(&score), "{} {}", metric, score);
            }
        }
    }

    #[test]
    fn overlap_is_mutual(a in some_rect(), b in some_rect()) {
        prop_assert!((a.iou(&b) - b.iou(&a)).abs() < 1e-12);
        prop_assert!((0.0..=1.0 + 1e-12).contains(&a.iou(&b)));
        prop_assert!((a.iou(&a) - 1.0).abs() < 1e-9);
        let flat = rect(a.x, a.y, a.width, 0.0);
        prop_assert!(flat.iou(&a) <= 0.0 && flat.iou(&flat) <= 0.0);
    }
}
