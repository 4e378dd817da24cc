//! Whatever the logits are, an answer is whole and names what was asked for.

use paligemma_checkpoint::PaliGemmaConfig;
use paligemma_processor::{format_detections, parse_detections};
use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::constraint::masked;
use crate::{BeamSearch, Sampling, pocket};

/// One begins another, one is spelled letter by letter, one holds bytes.
const LABELS: [&str; 5] = ["red", "red circle", " blue square ", "qx-7", "été"];

fn tokenizer() -> Tokenizer {
    let config = PaliGemmaConfig::from_json(pocket::CONFIG).unwrap();
    Tokenizer::from_bytes(pocket::TOKENIZER, config.image_token_index).unwrap()
}

fn logits(random: &mut ChaCha8Rng, count: usize) -> Vec<f32> {
    (0..count).map(|_| random.random_range(-4.0..4.0)).collect()
}

/// Tokens drawn under a rule until the answer ends or `limit` is reached.
fn draw(items: &Items, vocabulary: usize, limit: usize, seed: u64) -> Vec<u32> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let sampling = Sampling::Random { temperature: 1.0, top_k: None, top_p: None };
    let mut tokens = Vec::new();
    while tokens.len() < limit {
        let logits = logits(&mut random, vocabulary);
        let open = masked(Some(items), &tokens, limit - tokens.len(), &logits, items.eos);
        match sampling.choose(&open, &mut random) {
            token if token == items.eos => break,
            token => tokens.push(token),
        }
    }
    tokens
}

fn assert_reads(text: &str) {
    let found = parse_detections(text);
    assert_eq!(format_detections(&found), text, "all of it is read");
    for detection in found {
        assert!(LABELS.iter().any(|label| label.trim() == detection.label), "{text}");
        assert!(detection.x0 < detection.x1 && detection.y0 < detection.y1, "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_logits_give_boxes_of_what_was_asked_for(seed in any::<u64>()) {
        let tokenizer = tokenizer();
        let items = Items::boxes(&tokenizer, &LABELS).unwrap();
        let mut longest = 0;
        for answer in 0..300 {
            let limit = 1 + answer % 60;
            let tokens = draw(&items, tokenizer.vocab_size(), limit, seed.wrapping_add(answer as u64));
            assert_reads(&tokenizer.decode(&tokens));
            longest = longest.max(tokens.len());
        }
        prop_assert!(longest > 30, "answers of several items were among them");
    }

    #[test]
    fn any_logits_give_masks_of_what_was_asked_for(seed in any::<u64>(), limit in 1_usize..90) {
        let tokenizer = tokenizer();
        let items = Items::masks(&tokenizer, &LABELS).unwrap();
        let tokens = draw(&items, tokenizer.vocab_size(), limit, seed);
        let text = tokenizer.decode(&tokens);
        for item in text.split(" ; ").filter(|item| !item.is_empty()) {
            let codes: String = item.chars().skip(9 * EDGES).take(8 * CODES).collect();
            prop_assert_eq!(codes.matches("<seg").count(), CODES, "{}", text);
            assert_reads(&item.replace(&codes, ""));
        }
    }

    #[test]
    fn beams_obey_the_rule(seed in any::<u64>(), beams in 2_usize..5, limit in 1_usize..40) {
        let tokenizer = tokenizer();
        let items = Items::boxes(&tokenizer, &LABELS).unwrap();
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut search = BeamSearch::new(beams, limit, items.eos, Some(&items));
        let mut rows = 1;
        while let Some(step) = search.advance(&logits(&mut random, rows * tokenizer.vocab_size())) {
            rows = step.rows.len();
        }
        let found = search.finish();
        prop_assert!(!found.is_empty() && found.len() <= beams);
        prop_assert!(found.is_sorted_by(|a, b| a.score() >= b.score()));
        for beam in found {
            assert_reads(&tokenizer.decode(&beam.token_ids));
        }
    }
}

#[test]
fn an_answer_may_be_empty_and_is_never_cut() {
    let tokenizer = tokenizer();
    let items = Items::boxes(&tokenizer, &LABELS).unwrap();
    let eos = tokenizer.special().eos;
    // Four locations and `▁red` are the shortest item.
    assert_eq!(items.allowed(&[], 4), [eos]);
    assert_eq!(items.allowed(&[], 5).len(), LOCATIONS, "<eos>, and no box begins at the last edge");
    let [y0, x0, y1, x1] = [7, 1022, 9, 1023].map(|index| tokenizer.loc(index));
    assert_eq!(items.allowed(&[y0, x0], 3)[0], tokenizer.loc(8));
    assert_eq!(items.allowed(&[y0, x0, y1], 2), [x1]);
    let red = tokenizer.encode_suffix(" red").unwrap();
    assert_eq!(items.allowed(&[y0, x0, y1, x1], 1), red);
    let circle = tokenizer.encode_suffix(" circle").unwrap();
    let red_box = [&[y0, x0, y1, x1], &*red].concat();
    assert_eq!(items.allowed(&red_box, 1), [circle[0], eos], "no room for a separator");
    assert_eq!(items.allowed(&red_box, 0), [eos]);
}

#[test]
fn labels_that_would_not_be_read_back_are_refused() {
    let tokenizer = tokenizer();
    for label in ["a ; b", "cat;", "<loc0001>", "a<seg001>"] {
        let refused = Items::boxes(&tokenizer, &["cat", label]);
        assert!(matches!(refused, Err(Error::Label { label: of }) if of == label));
    }
    assert!(matches!(Items::boxes(&tokenizer, &["", " "]), Err(Error::Nothing { .. })));
}
