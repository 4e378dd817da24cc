//! Which answer of an example is learnt in an epoch.

use rand::Rng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::{Example, Use};

/// Which of several right answers is learnt.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// The suffix, whatever else is right.
    #[default]
    Given,
    /// Every reference once, in an order of the example's own, before any comes again
    /// (`choice_no_replacement` of `big_vision`, `pp/ops_general.py`).
    EachInTurn,
    /// A reference at random (`choice`, and `video_choice` for clips).
    Any,
}

/// The stream of an example's chance that answers are drawn from; pictures have the first.
const STREAM: u64 = 1;

fn generator(at: Use) -> ChaCha8Rng {
    let mut generator = at.generator();
    generator.set_stream(STREAM);
    generator
}

impl Target {
    /// The answer of an example that is learnt in this use of it.
    pub fn of(self, example: &Example, at: Use) -> &str {
        let count = example.references.len() as u64;
        if count == 0 {
            return &example.suffix;
        }
        let chosen = match self {
            Self::Given => return &example.suffix,
            Self::Any => generator(at).random_range(0..count),
            Self::EachInTurn => {
                let mut order: Vec<u64> = (0..count).collect();
                order.shuffle(&mut generator(Use { epoch: at.epoch / count, ..at }));
                order[(at.epoch % count) as usize]
            }
        };
        &example.references[chosen as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs(target: Target, index: u64) -> Vec<String> {
        let texts = ["a", "b", "c"].map(str::to_owned).to_vec();
        let example = Example {
            references: texts,
            ..Example::new(Vec::new(), "q".to_owned(), "b".to_owned())
        };
        let of = |epoch| target.of(&example, Use { seed: 5, epoch, index }).to_owned();
        (0..300).map(of).collect()
    }

    #[test]
    fn every_answer_has_its_turn() {
        let all = epochs(Target::EachInTurn, 1);
        for round in all.chunks(3) {
            let mut sorted = round.to_vec();
            sorted.sort();
            assert_eq!(sorted, ["a", "b", "c"]);
        }
        assert!(all.chunks(3).any(|round| round != &all[..3]), "the order never changes");
        assert_ne!(all, epochs(Target::EachInTurn, 2));
        assert_eq!(all, epochs(Target::EachInTurn, 1));
    }

    #[test]
    fn others_are_the_suffix_or_any() {
        assert!(epochs(Target::Given, 1).iter().all(|text| text == "b"));
        let any = epochs(Target::Any, 1);
        for text in ["a", "b", "c"] {
            assert!(any.iter().filter(|found| *found == text).count() > 70, "{text}");
        }
    }
}
