//! What was taken for what.

use std::collections::BTreeSet;

/// How often each label was predicted for each: scikit-learn's `confusion_matrix`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Confusion {
    /// Every label that was expected or predicted, sorted.
    pub labels: Vec<String>,
    /// A row for each expected label: how often each label was predicted for it.
    pub counts: Vec<Vec<usize>>,
}

/// Counts predictions by what was expected; `pairs` are (prediction, reference).
pub fn confusion<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)> + Clone) -> Confusion {
    let labels: BTreeSet<&str> = pairs.clone().flat_map(|(a, b)| [a, b]).collect();
    let labels: Vec<&str> = labels.into_iter().collect();
    let mut counts = vec![vec![0; labels.len()]; labels.len()];
    for (prediction, reference) in pairs {
        // Both are among the labels, which are sorted.
        if let (Ok(column), Ok(row)) =
            (labels.binary_search(&prediction), labels.binary_search(&reference))
        {
            counts[row][column] += 1;
        }
    }
    Confusion { labels: labels.into_iter().map(str::to_owned).collect(), counts }
}
