//! Verbs that answer: what they print, as text and as an object.

use std::io::pipe;

use crate::support::{Desk, assert_one_error, json, keys, paligemma, prints, refuses};

const ANSWER: [&str; 5] = ["finish_reason", "text", "timings", "token_ids", "usage"];
const TIMINGS: [&str; 5] =
    ["encode_seconds", "first_token_seconds", "load_seconds", "tokens_per_second", "total_seconds"];

#[test]
fn every_verb_prints_one_object_and_the_same_text_without() {
    let desk = Desk::new();
    let scene = &*desk.scene();
    for (words, images) in [
        (vec!["caption", scene], 1),
        (vec!["caption", scene, "--lang", "de"], 1),
        (vec!["ask", scene, "how many circles are there?"], 1),
        (vec!["ocr", scene], 1),
        (vec!["generate", scene, scene, "--prompt", "answer en what changed?"], 2),
        (vec!["caption", scene, "--max-new-tokens", "3"], 1),
        (vec!["caption", scene, "--temperature", "1.5", "--top-k", "40", "--seed", "7"], 1),
        (vec!["caption", scene, "--device", "auto", "--dtype", "f32"], 1),
    ] {
        let answer = json(&words);
        assert_eq!(keys(&answer), ANSWER, "{words:?}");
        let usage = &answer["usage"];
        assert_eq!(keys(usage), ["completion_tokens", "image_tokens", "prompt_tokens"]);
        let tokens = answer["token_ids"].as_array().unwrap().len();
        assert_eq!(usage["completion_tokens"], tokens);
        assert_eq!(usage["image_tokens"], 64 * images);
        assert!(usage["prompt_tokens"].as_u64().unwrap() > 64 * images);
        let reason = &answer["finish_reason"];
        assert!(reason == "stop" || reason == "length", "{reason}");
        if let Some(limit) = words.iter().position(|word| *word == "--max-new-tokens") {
            assert!(tokens <= words[limit + 1].parse().unwrap());
        }
        assert_eq!(keys(&answer["timings"]), TIMINGS);
        assert!(answer["timings"]["total_seconds"].as_f64().unwrap() > 0.0);
        assert_eq!(prints(&words), format!("{}\n", answer["text"].as_str().unwrap()), "{words:?}");
    }
}

#[test]
fn a_seed_decides_what_is_drawn() {
    let desk = Desk::new();
    let scene = &*desk.scene();
    let drawn = |seed: &str| prints(&["caption", scene, "--temperature", "5", "--seed", seed]);
    assert_eq!(drawn("1"), drawn("1"));
    assert!((2..6).any(|seed| drawn(&seed.to_string()) != drawn("1")));
}

#[test]
fn verbs_are_prompts() {
    let desk = Desk::new();
    let scene = &*desk.scene();
    for (words, prompt) in [
        (vec!["caption", scene], "caption en"),
        (vec!["ask", scene, "what is red?"], "answer en what is red?"),
        (vec!["ocr", scene], "ocr"),
    ] {
        let raw = prints(&["generate", scene, "--prompt", prompt]);
        assert_eq!(prints(&words), raw, "{prompt}");
    }
}

#[test]
fn candidates_are_weighed_with_their_end() {
    let desk = Desk::new();
    let scene = &*desk.scene();
    let words = ["score", scene, "--prompt", "answer en is it red?"];
    let words = [&words[..], &["--candidate", "yes", "--candidate", "no red circle"]].concat();
    let scores = json(&words);
    assert_eq!(keys(&scores), ["candidates"]);
    let candidates = scores["candidates"].as_array().unwrap();
    let texts: Vec<_> = candidates.iter().map(|candidate| &candidate["text"]).collect();
    assert_eq!(texts, ["yes", "no red circle"]);
    for candidate in candidates {
        assert_eq!(keys(candidate), ["logprobs", "mean", "text", "token_ids", "total"]);
        let tokens = candidate["token_ids"].as_array().unwrap();
        let logprobs = candidate["logprobs"].as_array().unwrap();
        assert_eq!(tokens.last().unwrap(), 1, "<eos> closes the answer");
        assert_eq!(tokens.len(), logprobs.len());
        let total: f64 = logprobs.iter().map(|value| value.as_f64().unwrap()).sum();
        let said = candidate["total"].as_f64().unwrap();
        let mean = candidate["mean"].as_f64().unwrap();
        assert!((said - total).abs() < 1e-4 && total < 0.0, "{said} {total}");
        assert!((mean - total / logprobs.len() as f64).abs() < 1e-4);
    }
    let table = prints(&words);
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines.len(), 3, "{table}");
    assert!(lines[0].starts_with("total") && lines[0].ends_with("answer"));
    assert!(lines[1].ends_with("yes") && lines[2].ends_with("no red circle"));
    let first = candidates[0]["total"].as_f64().unwrap();
    assert!(lines[1].starts_with(&format!("{first:.3}")), "{table}");
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let desk = Desk::new();
    let scene = &*desk.scene();
    for words in [vec!["caption", scene], vec!["caption", scene, "--json"], vec!["devices"]] {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let output = paligemma().args(&words).stdout(writer).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{words:?}: {output:?}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_one() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = paligemma().arg("devices").stdout(full).output().unwrap();
    assert_one_error(&output, &["cannot write to the standard output"]);
}

#[test]
fn a_command_line_that_cannot_be_read_is_status_2() {
    for words in [
        vec![],
        vec!["caption"],
        vec!["caption", "a.png", "--device", "abacus"],
        vec!["caption", "a.png", "--dtype", "f8"],
        vec!["caption", "a.png", "--max-new-tokens", "-1"],
        vec!["score", "a.png", "--prompt", "ocr"],
        vec!["generate", "--prompt", "ocr"],
        vec!["sing", "a.png"],
    ] {
        let output = paligemma().args(&words).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty());
    }
    assert!(prints(&["--version"]).starts_with("paligemma "));
    assert!(prints(&["--help"]).contains("detect"));
}

#[test]
fn an_option_out_of_range_is_refused_before_the_model_is_opened() {
    for (option, value) in [("--temperature", "0"), ("--top-k", "0"), ("--top-p", "1.5")] {
        let words = ["caption", "no.png", "--model", "no/model", option, value];
        refuses(&words, &[option.trim_start_matches('-'), "it must be"]);
    }
}
