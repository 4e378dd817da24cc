//! `--num-answers`, `--best-of`, `--num-beams`: several answers to one question.

use crate::support::{Desk, json, keys, paligemma, prints, refuses};

const ONE: [&str; 5] = ["mean", "probability", "text", "token_ids", "total"];

#[test]
fn answers_come_with_their_probabilities() {
    let desk = Desk::new();
    let scene = &*desk.scene();
    let ask = ["ask", scene, "what color is it?"];
    for more in [
        &["--num-answers", "3"][..],
        &["--num-answers", "2", "--num-beams", "4"],
        &["--num-answers", "5", "--seed", "2", "--temperature", "3"],
    ] {
        let words = [&ask[..], more].concat();
        let found = json(&words);
        assert_eq!(keys(&found), ["answers", "timings"], "{words:?}");
        let answers = found["answers"].as_array().unwrap();
        let asked: usize = more[1].parse().unwrap();
        if more.contains(&"--seed") {
            assert!((1..=asked).contains(&answers.len()), "equal draws are one");
        } else {
            assert_eq!(answers.len(), asked);
        }
        let mut lines = Vec::new();
        for answer in answers {
            assert_eq!(keys(answer), ONE);
            let [mean, total, probability] =
                ["mean", "total", "probability"].map(|key| answer[key].as_f64().unwrap());
            assert!((probability - total.exp()).abs() < 1e-5 && mean <= 0.0 && total <= mean);
            let words: Vec<_> = answer["text"].as_str().unwrap().split_whitespace().collect();
            lines.push((format!("{probability:.4}"), words.join(" ")));
        }
        let means = answers.iter().map(|answer| answer["mean"].as_f64().unwrap());
        assert!(means.is_sorted_by(|a, b| a >= b), "{found}");
        let table = prints(&words);
        assert!(table.starts_with("probability"), "{table}");
        for (line, (probability, text)) in table.lines().skip(1).zip(&lines) {
            assert!(line.starts_with(probability) && line.ends_with(text), "{table}");
        }
        assert_eq!(table.lines().count(), 1 + answers.len());
    }
}

#[test]
fn probabilities_are_those_of_score() {
    let desk = Desk::new();
    let scene = &*desk.scene();
    let words = ["ask", scene, "is there a circle?", "--num-answers", "2", "--dtype", "f32"];
    for answer in json(&words)["answers"].as_array().unwrap() {
        let text = answer["text"].as_str().unwrap();
        let prompt = "answer en is there a circle?";
        let words = ["score", scene, "--prompt", prompt, "--candidate", text, "--dtype", "f32"];
        let scored = &json(&words)["candidates"][0];
        assert_eq!(answer["token_ids"].as_array().unwrap().last(), {
            let tokens = scored["token_ids"].as_array().unwrap();
            tokens.get(tokens.len() - 2)
        });
        for key in ["total", "mean"] {
            let [ours, theirs] = [answer, scored].map(|of| of[key].as_f64().unwrap());
            assert!((ours - theirs).abs() < 1e-3, "{key}: {ours} {theirs}");
        }
    }
}

#[test]
fn one_answer_has_the_shape_of_one() {
    let desk = Desk::new();
    let scene = &*desk.scene();
    let plain = json(&["caption", scene]);
    for more in [&["--num-answers", "1"][..], &["--num-beams", "1"]] {
        let found = json(&[&["caption", scene], more].concat());
        assert_eq!((keys(&found), &found["text"]), (keys(&plain), &plain["text"]));
    }
    for more in [&["--num-beams", "3"][..], &["--best-of", "3", "--seed", "1"]] {
        let words = [&["caption", scene], more].concat();
        let found = json(&words);
        assert_eq!(keys(&found), keys(&plain));
        assert_eq!(prints(&words), format!("{}\n", found["text"].as_str().unwrap()));
    }
    let several = ["caption", scene, "--num-answers", "3", "--seed", "1"];
    let best = json(&["caption", scene, "--best-of", "3", "--seed", "1"]);
    assert_eq!(json(&several)["answers"][0]["text"], best["text"]);
}

#[test]
fn what_cannot_be_combined_is_refused() {
    refuses(&["ocr", "no.png", "--num-beams", "2", "--seed", "1"], &["num-beams is 2"]);
    let words = ["ocr", "no.png", "--num-beams", "2", "--num-answers", "3"];
    refuses(&words, &["3 answers", "2 beams"]);
    for words in [
        &["ocr", "no.png", "--num-answers", "0"][..],
        &["ocr", "no.png", "--num-answers", "1000000"],
        &["ocr", "no.png", "--num-answers", "2", "--best-of", "2"],
        &["caption", "no.png", "--style", "sonnet"],
    ] {
        let output = paligemma().args(words).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{words:?}");
    }
}

#[test]
fn styles_are_prompts() {
    let desk = Desk::new();
    let scene = &*desk.scene();
    for style in ["cap", "caption", "describe"] {
        let raw = prints(&["generate", scene, "--prompt", &format!("{style} en")]);
        assert_eq!(prints(&["caption", scene, "--style", style]), raw);
    }
}
