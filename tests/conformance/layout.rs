//! Masks and positions against those that the reference handed to its decoder.

use paligemma_nn::{NnBackend, PrefixMask, TokenKind};

use super::bench::{flags, mask, without_padding};
use super::training::batch;
use super::{Bench, Measured};
use crate::reference::{Row, Tiny};

/// Cases whose prefill was recorded.
const PREFILLS: [&str; 8] =
    ["a", "b", "b_batch_left", "b_batch_right", "c_left", "c_right", "c_single2", "d"];

/// Cases whose first decoding step was recorded, and the case that their prompts are of.
pub(super) const GENERATIONS: [(&str, &str); 4] = [
    ("e_greedy", "a"),
    ("e_greedy_single2", "c_single2"),
    ("e_greedy_batch_left", "c_left"),
    ("e_greedy_two_images", "d"),
];

pub(super) fn measure<B: NnBackend>(bench: &Bench<B>) -> Vec<Measured> {
    let mut measured = Vec::new();
    for case in PREFILLS {
        let rows = bench.golden.rows(case);
        measured.extend(kinds(bench).map(|kind| prefill(bench, case, &rows, kind)));
        measured.push(positions(bench.golden, case, &rows));
    }
    for (case, prompts) in GENERATIONS {
        measured.extend(kinds(bench).map(|kind| first_step(bench, case, prompts, kind)));
    }
    measured.extend(builders(bench.golden));
    measured
}

/// The kinds of layers by the reference's names, each with its window.
type Kind = (&'static str, Option<usize>);

fn kinds<B: NnBackend>(bench: &Bench<B>) -> impl Iterator<Item = Kind> {
    let window = bench.config.text.sliding_window;
    let local = window.map(|window| ("sliding_attention", Some(window)));
    std::iter::once(("full_attention", None)).chain(local)
}

/// Who may attend to whom, as the decoder is told on this device.
fn attends<B: NnBackend>(
    bench: &Bench<B>,
    mask: &PrefixMask,
    queries: std::ops::Range<usize>,
    window: Option<usize>,
) -> Vec<bool> {
    let count = mask.rows().len() * queries.len() * mask.len();
    match mask.masked::<B>(queries, window, &bench.device) {
        Some(masked) => flags(masked).into_iter().map(|masked| !masked).collect(),
        None => vec![true; count],
    }
}

fn prefill<B: NnBackend>(
    bench: &Bench<B>,
    case: &str,
    rows: &[Row],
    (kind, window): Kind,
) -> Measured {
    let mask = mask(rows);
    let ours = attends(bench, &mask, 0..mask.len(), window);
    let theirs = bench.golden.flags(&format!("{case}.mask.{kind}"));
    let [ours, theirs] = [ours, theirs].map(|mask| without_padding(&mask, rows));
    Measured::exact(format!("{case} {kind}"), &ours, &theirs)
}

/// The reference counts from 1, and in some cases counts padding too: what a rotary embedding
/// sees is the distance from the row's first token.
fn positions(golden: Tiny, case: &str, rows: &[Row]) -> Measured {
    let theirs = golden.integers(&format!("{case}.position_ids"));
    let ours = mask(rows).positions();
    let (mut found, mut expected) = (Vec::new(), Vec::new());
    for (row, ours) in rows.iter().zip(ours) {
        let slots = row.slots();
        found.extend(slots.iter().map(|&slot| ours[slot] as i64));
        expected.extend(slots.iter().map(|&slot| theirs[slot] - theirs[slots[0]]));
    }
    Measured::exact(format!("{case} positions"), &found, &expected)
}

/// The reference's cache of a layer with a window keeps no more than that.
fn first_step<B: NnBackend>(
    bench: &Bench<B>,
    case: &str,
    prompts: &str,
    (kind, window): Kind,
) -> Measured {
    let mut mask = mask(&bench.golden.rows(prompts));
    mask.push(TokenKind::Suffix);
    let length = mask.len();
    let kept = window.map_or(length, |window| window.min(length));
    let ours = attends(bench, &mask, length - 1..length, window);
    let theirs = bench.golden.flags(&format!("{case}.mask_step1.{kind}"));
    let theirs = theirs.chunks(kept).map(|row| [&vec![false; length - kept], row].concat());
    Measured::exact(format!("{case} {kind}"), &ours, &theirs.collect::<Vec<_>>().concat())
}

/// The ways to build a mask from lengths, against the reference's right-padded rows.
fn builders(golden: Tiny) -> [Measured; 3] {
    let same = |what: &str, built: &PrefixMask, case: &str| {
        Measured::exact(what, built.rows(), mask(&golden.rows(case)).rows())
    };
    let lengths = |case: &str| {
        let rows = golden.rows(case);
        let lengths =
            rows.iter().map(|row| (row.pictures.len() + row.prefix().len(), row.suffix().len()));
        lengths.collect::<Vec<_>>()
    };
    let prefixes: Vec<usize> = lengths("c_right").iter().map(|(prefix, _)| *prefix).collect();
    let pictures = golden.rows("b_batch_right")[0].pictures.len();
    [
        same("mask from prefixes", &PrefixMask::prefixes(&prefixes), "c_right"),
        same(
            "mask with suffixes",
            &PrefixMask::with_suffixes(&lengths("b_batch_right")),
            "b_batch_right",
        ),
        same("mask of training", &batch(golden, "b_batch_right").mask(pictures), "b_batch_right"),
    ]
}
