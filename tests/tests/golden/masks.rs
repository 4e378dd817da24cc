//! Properties of the prefix-LM mask for rows of any make, and its equality with big_vision's.

use paligemma_nn::{PrefixMask, TokenKind};
use proptest::prelude::*;

use TokenKind::{Pad, Prefix, Suffix};

/// A row: a prefix, then a suffix, with padding anywhere.
fn row() -> impl Strategy<Value = Vec<TokenKind>> {
    let part = |kind| prop::collection::vec(prop_oneof![1 => Just(Pad), 3 => Just(kind)], 0..12);
    (part(Prefix), part(Suffix)).prop_map(|(prefix, suffix)| [prefix, suffix].concat())
}

/// Rows of one length, padded at their ends.
fn rows() -> impl Strategy<Value = Vec<Vec<TokenKind>>> {
    prop::collection::vec(row(), 1..5).prop_map(|mut rows| {
        let longest = rows.iter().map(Vec::len).max().unwrap_or(0);
        for row in &mut rows {
            row.resize(longest, Pad);
        }
        rows
    })
}

/// big_vision's `make_attn_mask` (`models/proj/paligemma/paligemma.py`) for one row, flattened: a
/// slot is seen by the slots whose running sum of `mask_ar` is not smaller, if both are input.
fn big_vision(row: &[TokenKind]) -> Vec<bool> {
    let running: Vec<u32> = row
        .iter()
        .scan(0, |sum, kind| {
            *sum += u32::from(*kind == Suffix);
            Some(*sum)
        })
        .collect();
    let slots = || running.iter().zip(row);
    slots()
        .flat_map(|(query, asks)| {
            slots().map(move |(key, kind)| key <= query && *asks != Pad && *kind != Pad)
        })
        .collect()
}

/// The answers to the queries of one row, query by query.
fn of_row<'a>(mask: &PrefixMask, attend: &'a [bool], row: usize) -> Vec<&'a [bool]> {
    let length = mask.len();
    attend[row * length * length..(row + 1) * length * length].chunks(length.max(1)).collect()
}

proptest! {
    #[test]
    fn it_is_the_mask_of_big_vision(rows in rows()) {
        let mask = PrefixMask::new(rows.clone());
        let attend = mask.attend(0..mask.len());
        for (index, row) in rows.iter().enumerate() {
            let theirs = big_vision(row);
            let theirs = theirs.chunks(row.len().max(1));
            for ((ours, theirs), kind) in of_row(&mask, &attend, index).iter().zip(theirs).zip(row) {
                // What padding attends to is nobody's business.
                prop_assert!(*kind == Pad || *ours == theirs, "row {:?}", row);
            }
        }
    }

    #[test]
    fn every_query_sees_the_whole_prefix_and_never_padding_or_the_future(rows in rows()) {
        let mask = PrefixMask::new(rows.clone());
        let attend = mask.attend(0..mask.len());
        for (index, row) in rows.iter().enumerate() {
            for (query, sees) in of_row(&mask, &attend, index).into_iter().enumerate() {
                for (slot, kind) in row.iter().enumerate() {
                    match (row[query], kind) {
                        (Pad, _) => {}
                        (_, Pad) => prop_assert!(!sees[slot]),
                        (_, Prefix) => prop_assert!(sees[slot]),
                        (Prefix, Suffix) => prop_assert!(!sees[slot]),
                        (Suffix, Suffix) => prop_assert_eq!(sees[slot], slot <= query),
                    }
                }
            }
        }
    }

    #[test]
    fn positions_count_the_tokens_of_a_row(rows in rows()) {
        let positions = PrefixMask::new(rows.clone()).positions();
        for (row, positions) in rows.iter().zip(positions) {
            let tokens = row.iter().zip(positions).filter(|(kind, _)| **kind != Pad);
            let found: Vec<usize> = tokens.map(|(_, position)| position).collect();
            prop_assert_eq!(&found, &(0..found.len()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_token_at_a_time_is_all_at_once(rows in rows(), added in 0_usize..4) {
        let mut grown = PrefixMask::new(rows.clone());
        (0..added).for_each(|_| grown.push(Suffix));
        let whole = rows.iter().map(|row| [&row[..], &vec![Suffix; added]].concat()).collect();
        let whole = PrefixMask::new(whole);
        prop_assert_eq!(grown.rows(), whole.rows());
        prop_assert_eq!(grown.positions(), whole.positions());
        // The queries of the new slots alone are the last rows of the whole mask.
        let (start, length) = (whole.len() - added, whole.len());
        let all = whole.attend(0..length);
        let last: Vec<bool> = (0..rows.len())
            .flat_map(|row| all[(row * length + start) * length..(row + 1) * length * length].to_vec())
            .collect();
        prop_assert_eq!(grown.attend(start..length), last);
    }

    #[test]
    fn a_window_is_of_the_answers_alone_and_ends_with_the_query(rows in rows(), window in 1_usize..9) {
        let mask = PrefixMask::new(rows.clone());
        let all = mask.attend(0..mask.len());
        let near = mask.attend_within(0..mask.len(), Some(window));
        for (index, row) in rows.iter().enumerate() {
            let both = of_row(&mask, &all, index).into_iter().zip(of_row(&mask, &near, index));
            for (query, (all, near)) in both.enumerate() {
                match row[query] {
                    Pad => {}
                    Prefix => prop_assert_eq!(all, near),
                    Suffix => {
                        // The last of what it would see: tokens before it, and itself.
                        let seen = all.iter().filter(|sees| **sees).count();
                        let mut left_out = seen.saturating_sub(window);
                        for (all, near) in all.iter().zip(near) {
                            let kept = *all && left_out == 0;
                            left_out -= usize::from(*all && left_out > 0);
                            prop_assert_eq!(kept, *near);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn padding_changes_nothing_for_the_tokens(
        row in row(),
        at in any::<prop::sample::Index>(),
        window in prop::option::of(1_usize..9),
    ) {
        let mut padded = row.clone();
        let at = at.index(row.len() + 1);
        padded.insert(at, Pad);
        let without = PrefixMask::new(vec![row.clone()]);
        let with = PrefixMask::new(vec![padded]);
        let length = with.len();
        let attend = with.attend_within(0..length, window);
        let kept = |slot: &usize| *slot != at;
        let found: Vec<bool> = (0..length)
            .filter(kept)
            .flat_map(|query| {
                let sees = &attend[query * length..(query + 1) * length];
                (0..length).filter(kept).map(|slot| sees[slot]).collect::<Vec<_>>()
            })
            .collect();
        prop_assert_eq!(found, without.attend_within(0..row.len(), window));
    }
}
