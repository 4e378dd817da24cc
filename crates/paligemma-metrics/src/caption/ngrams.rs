//! Runs of one to four words, counted.

use std::collections::BTreeMap;

/// The longest runs that are counted.
pub(super) const LONGEST: usize = 4;

/// How often each run of words occurs. The order of the map is fixed, and so are sums over it.
pub(super) type Counts<'a> = BTreeMap<&'a [String], usize>;

/// Counts the runs of 1..=[`LONGEST`] words.
pub(super) fn count(words: &[String]) -> Counts<'_> {
    let mut counts = Counts::new();
    for length in 1..=LONGEST {
        for run in words.windows(length) {
            *counts.entry(run).or_default() += 1;
        }
    }
    counts
}
