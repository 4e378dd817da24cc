//! Every metric equals its public reference on the cases of `tests/golden/make_metrics.py`.

use paligemma_metrics::{
    Detection, Examples, Mask, Metric, Picture, Rect, Text, Truth, anls, average_precision, bleu,
    caption_words, cider, mask_iou, relaxed_match, vqa_accuracy, vqa_answer,
};
use serde_json::Value;

fn golden(name: &str) -> Value {
    let path = format!("{}/../../tests/golden/metrics/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn texts(value: &Value) -> Vec<String> {
    list(value).iter().map(|one| text(one).to_owned()).collect()
}

fn numbers(value: &Value) -> Vec<f64> {
    list(value).iter().map(|one| one.as_f64().unwrap()).collect()
}

/// Sums of some hundred numbers in another order differ by this little.
#[track_caller]
fn assert_close(found: f64, expected: f64, what: &str) {
    assert!(
        (found - expected).abs() <= 1e-12 * expected.abs().max(1.0),
        "{what}: {found} is not {expected}"
    );
}

#[test]
fn answers_score_as_the_references_say() {
    let golden = golden("answers");
    for case in list(&golden["texts"]) {
        let references = texts(&case["references"]);
        let prediction = text(&case["prediction"]);
        // The challenge's evaluation rounds to 12 digits of a per cent.
        let vqa = vqa_accuracy(prediction, &references);
        assert_close(vqa, case["vqa"].as_f64().unwrap(), &format!("vqa of {case}"));
        let anls = anls(prediction, &references);
        assert_close(anls, case["anls"].as_f64().unwrap(), &format!("anls of {case}"));
    }
    for pair in list(&golden["processed"]) {
        assert_eq!(vqa_answer(text(&pair[0])), text(&pair[1]), "{pair}");
    }
    for case in list(&golden["relaxed"]) {
        let found = relaxed_match(text(&case[0]), &[text(&case[1])]);
        assert_eq!(found > 0.5, case[2].as_bool().unwrap(), "{case}");
    }
}

#[test]
fn captions_have_the_words_of_the_reference() {
    let golden = golden("captions");
    let wrong: Vec<String> = list(&golden["words"])
        .iter()
        .filter(|case| caption_words(text(&case[0])) != texts(&case[1]))
        .map(|case| {
            let found = caption_words(text(&case[0])).join(" ");
            format!("{}\n  is  {found}\n  not {}", case[0], texts(&case[1]).join(" "))
        })
        .collect();
    assert!(wrong.is_empty(), "{} texts differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn captions_score_as_the_reference_says() {
    for set in list(&golden("captions")["sets"]) {
        let cases: Vec<Text> = list(&set["texts"])
            .iter()
            .map(|case| Text {
                prediction: text(&case["prediction"]).to_owned(),
                references: texts(&case["references"]),
            })
            .collect();
        let bleu = bleu(&cases);
        let cider = cider(&cases);
        for (n, expected) in numbers(&set["bleu"]).into_iter().enumerate() {
            assert_close(bleu.corpus[n], expected, "BLEU");
        }
        assert_close(cider.mean, set["cider"].as_f64().unwrap(), "CIDEr");
        let each = list(&set["each_bleu"]).iter().zip(numbers(&set["each_cider"]));
        for (at, (expected_bleu, expected_cider)) in each.enumerate() {
            for (n, expected) in numbers(expected_bleu).into_iter().enumerate() {
                assert_close(bleu.each[at][n], expected, &format!("BLEU of {:?}", cases[at]));
            }
            assert_close(cider.each[at], expected_cider, &format!("CIDEr of {:?}", cases[at]));
        }
    }
}

fn mask(rows: &Value) -> Mask {
    let rows = texts(rows);
    let pixels = rows.iter().flat_map(|row| row.bytes().map(|byte| byte == b'1'));
    Mask::new(rows[0].len(), pixels).unwrap()
}

fn rect(values: &[f64]) -> Rect {
    Rect { x: values[0], y: values[1], width: values[2], height: values[3] }
}

#[test]
fn overlaps_are_those_of_pycocotools() {
    let golden = golden("masks");
    for pair in list(&golden["masks"]) {
        let found = mask_iou(&mask(&pair["a"]), &mask(&pair["b"])).unwrap();
        assert_close(found, pair["iou"].as_f64().unwrap(), &pair.to_string());
    }
    for pair in list(&golden["boxes"]) {
        let found = rect(&numbers(&pair["a"])).iou(&rect(&numbers(&pair["b"])));
        assert_close(found, pair["iou"].as_f64().unwrap(), &pair.to_string());
    }
}

#[test]
fn average_precision_is_that_of_pycocotools() {
    for set in list(&golden("detections")) {
        let mut pictures = vec![Picture::default(); set["pictures"].as_u64().unwrap() as usize];
        for truth in list(&set["truths"]) {
            let [picture, label, x, y, width, height, area, crowd] = numbers(truth)[..] else {
                panic!("{truth}");
            };
            pictures[picture as usize - 1].truths.push(Truth {
                label: label.to_string(),
                rect: rect(&[x, y, width, height]),
                area,
                crowd: crowd > 0.0,
            });
        }
        for found in list(&set["detections"]) {
            let [picture, label, x, y, width, height, score] = numbers(found)[..] else {
                panic!("{found}");
            };
            pictures[picture as usize - 1].detections.push(Detection {
                label: label.to_string(),
                rect: rect(&[x, y, width, height]),
                score,
            });
        }
        let found = average_precision(&pictures).named();
        for ((name, found), expected) in found.into_iter().zip(numbers(&set["stats"])) {
            assert_close(found.unwrap_or(-1.0), expected, name);
        }
    }
}

#[test]
fn classes_are_counted_as_scikit_learn_counts_them() {
    for set in list(&golden("classes")) {
        let pairs = texts(&set["predictions"]).into_iter().zip(texts(&set["references"]));
        let cases: Vec<Text> = pairs
            .map(|(prediction, reference)| Text { prediction, references: vec![reference] })
            .collect();
        let report = Metric::Accuracy.score(&Examples::Texts(&cases)).unwrap();
        assert_close(report.summary, set["accuracy"].as_f64().unwrap(), "accuracy");
        let confusion = report.confusion.unwrap();
        assert_eq!(confusion.labels, texts(&set["labels"]));
        let counts: Vec<Vec<f64>> = list(&set["counts"]).iter().map(numbers).collect();
        let found: Vec<Vec<f64>> = confusion
            .counts
            .iter()
            .map(|row| row.iter().map(|&count| count as f64).collect())
            .collect();
        assert_eq!(found, counts);
    }
}
