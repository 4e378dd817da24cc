//! Boxes in answers: read, written and traced to their tokens.

mod support;

use std::sync::LazyLock;

use paligemma_processor::{
    Detection, Tokenizer, detection_spans, format_detections, parse_detections,
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
    ] {
        assert_eq!(labels(&format!("{bad} ; {good}")), ["cat"], "{bad}");
    }
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
    (label, edges(), edges()).prop_map(|(label, x, y)| {
        let [x0, x1, y0, y1] = [x.0, x.1, y.0, y.1].map(|edge| f32::from(edge) / 1023.0);
        Detection { label, x0, y0, x1, y1 }
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
    fn any_text_is_read_without_a_panic(text in "(<loc[0-9]{3,5}>|[;a-z <]|é|\\PC){0,30}") {
        for Detection { label, x0, y0, x1, y1 } in parse_detections(&text) {
            prop_assert!(!label.is_empty() && x0 < x1 && y0 < y1 && x1 <= 1.0 && y1 <= 1.0);
        }
    }

    #[test]
    fn any_ids_are_read_without_a_panic(ids in prop::collection::vec(0..2005u32, 0..40)) {
        for (_, range) in detection_spans(&ids, &TOKENIZER) {
            prop_assert!(range.start + 4 < range.end && range.end <= ids.len());
        }
    }
}
