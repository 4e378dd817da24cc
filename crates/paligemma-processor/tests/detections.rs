//! Boxes in answers: read, written and traced to their tokens.

mod support;

use std::sync::LazyLock;

use paligemma_processor::{
    Detection, SEGMENTS, Tokenizer, detection_spans, format_detections, parse_detections,
};
use proptest::prelude::*;

static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(support::tokenizer);

fn labels(text: &str) -> Vec<String> {
    parse_detections(text).into_iter().map(|detection| detection.label).collect()
}

#[test]
fn the_order_in_text_is_y_before_x() {
    let text = "<loc0100><loc0200><loc0300><loc0400> red ball";
    let box_of = |index: u16| f32::from(index) / 1023.0;
    assert_eq!(
        parse_detections(text),
        [Detection {
            label: "red ball".into(),
            y0: box_of(100),
            x0: box_of(200),
            y1: box_of(300),
            x1: box_of(400),
            codes: None,
        }]
    );
    assert_eq!(format_detections(&parse_detections(text)), text);
}

#[test]
fn malformed_pieces_are_skipped() {
    let good = "<loc0000><loc0000><loc1023><loc1023> cat";
    assert_eq!(labels(&format!("{good};{good} ;  ; {good}\n")), ["cat"; 3]);
    for bad in [
        "",
        "cat",
        "<loc0000><loc0000><loc1023> cat",
        "<loc0000><loc0000><loc1023><loc1023>",
        "<loc0000><loc0000><loc1023><loc1023><loc0001> cat",
        "<loc0000><loc0000><loc1023><loc1024> cat",
        "<loc0000><loc0000><loc1023><loc+102> cat",
        "<loc0000><loc0000><loc1023><loc102",
        "<loc0500><loc0000><loc0500><loc1023> cat",
        "<loc0000><loc0900><loc1023><loc0100> cat",
        "a <loc0000><loc0000><loc1023><loc1023> cat",
        "<loc0000><loc0000><loc1023><loc1023><seg001> cat",
        &mask("<seg128>", " cat"),
        &mask("<seg01>", " cat"),
        &mask("<loc0001>", " cat"),
        &mask("<seg001><seg001>", " cat"),
        &mask("<seg001>", " cat <seg001>"),
        &mask("<seg001", " cat"),
    ] {
        assert_eq!(labels(&format!("{bad} ; {good}")), ["cat"], "{bad}");
    }
}

/// A box with 15 good codes, then `last`, then `rest`.
fn mask(last: &str, rest: &str) -> String {
    "<loc0000><loc0000><loc1023><loc1023>".to_owned() + &"<seg001>".repeat(15) + last + rest
}

#[test]
fn a_mask_stands_between_box_and_label() {
    let text = mask("<seg127>", " red ball");
    let found = parse_detections(&text);
    let [Detection { label, codes: Some(codes), .. }] = &*found else { panic!("{found:?}") };
    assert_eq!((&**label, codes[..15] == [1; 15], codes[15]), ("red ball", true, 127));
    assert_eq!(format_detections(&found), text);
    // Transfers to one task name nothing: what was asked for is what was found.
    let text = mask("<seg000>", "");
    assert_eq!(labels(&text), [""]);
    assert_eq!(format_detections(&parse_detections(&text)), text);
    let both = format!("{text} ; <loc0000><loc0000><loc1023><loc1023> cat");
    assert_eq!(labels(&both), ["", "cat"]);
}

#[test]
fn spans_are_the_tokens_of_a_box() {
    let good = "<loc0000><loc0001><loc1023><loc1022>";
    let text = format!("{good} cat ; nothing ; {good} 🐯");
    let ids = [TOKENIZER.encode_suffix(&text).unwrap(), vec![TOKENIZER.special().eos]].concat();
    let spans = detection_spans(&ids, &TOKENIZER);
    assert_eq!(spans.len(), 2);
    for ((detection, range), label) in spans.into_iter().zip(["cat", "🐯"]) {
        assert_eq!(detection.label, label);
        assert_eq!(ids[range.start], TOKENIZER.loc(0));
        assert_eq!(TOKENIZER.decode(&ids[range]), format!("{good} {label}"));
    }
}

fn detection() -> impl Strategy<Value = Detection> {
    let edges = || (0..1023u16, 1..=1023u16).prop_filter("an extent", |(low, high)| low < high);
    // A label is what the model can write as one: no separator, no token, no space around.
    let label = "[a-zé🐯<>(][a-zé ]{0,6}[a-zé🐯]";
    let label = label.prop_filter("what begins as a token is no label", |label| {
        !label.starts_with("<loc") && !label.starts_with("<seg")
    });
    let codes = prop::option::of(prop::array::uniform16(0..128_u8));
    (label, edges(), edges(), codes).prop_map(|(label, x, y, codes)| {
        let [x0, x1, y0, y1] = [x.0, x.1, y.0, y.1].map(|edge| f32::from(edge) / 1023.0);
        Detection { label, x0, y0, x1, y1, codes }
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(detections in prop::collection::vec(detection(), 0..5)) {
        let text = format_detections(&detections);
        prop_assert_eq!(&parse_detections(&text), &detections);
        let ids = TOKENIZER.encode_suffix(&text).unwrap();
        let spans = detection_spans(&ids, &TOKENIZER);
        let read: Vec<_> = spans.iter().map(|(detection, _)| detection.clone()).collect();
        prop_assert_eq!(&read, &detections);
        for (detection, range) in spans {
            let own = format_detections(&[detection]);
            prop_assert_eq!(TOKENIZER.decode(&ids[range]), own);
        }
    }

    #[test]
    fn any_text_is_read_without_a_panic(
        text in "(<loc[0-9]{3,5}>|(<seg[0-9]{3}>){1,17}|<seg|[;a-z <]|é|\\PC){0,30}",
    ) {
        parse_detections(&text).iter().try_for_each(is_sound)?;
    }
}

/// What an answer promises, whatever the model wrote.
fn is_sound(found: &Detection) -> Result<(), TestCaseError> {
    let Detection { label, x0, y0, x1, y1, codes } = found;
    prop_assert!(!label.is_empty() || codes.is_some());
    prop_assert!(x0 < x1 && y0 < y1 && *x1 <= 1.0 && *y1 <= 1.0);
    prop_assert!(codes.iter().flatten().all(|&code| usize::from(code) < SEGMENTS));
    Ok(())
}

/// Token ids of answers that are almost sound: heads of boxes and masks, cut, repeated, mixed.
fn answer() -> impl Strategy<Value = Vec<u32>> {
    let ids = |from: u32, to: u32| (from..to).prop_map(|id| vec![id]);
    let some = |from: u32, to: u32, most| prop::collection::vec(from..to, 1..most);
    let (loc, seg) = (TOKENIZER.loc(0), TOKENIZER.seg(0));
    let piece = prop_oneof![
        3 => prop::collection::vec(loc..loc + 1024, 4),
        2 => prop::collection::vec(seg..seg + 128, 16),
        1 => some(loc, loc + 1024, 6),
        1 => some(seg, seg + 128, 18),
        2 => Just(TOKENIZER.encode_suffix(" cat ; ").unwrap()),
        1 => Just(TOKENIZER.encode_suffix(";").unwrap()),
        2 => ids(0, 2005),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100_000))]

    #[test]
    fn any_ids_are_read_without_a_panic(ids in answer()) {
        for (found, range) in detection_spans(&ids, &TOKENIZER) {
            is_sound(&found)?;
            prop_assert!(range.start + 4 < range.end && range.end <= ids.len());
        }
    }
}
