//! The table as text: a row for each case, a column for each device and dtype, notes below.

use std::fmt::{self, Write};

use super::{Case, Column, Measured, Outcome};

/// How many outcomes there are of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Measured, all within tolerance.
    pub passed: usize,
    /// Measured and wrong, not measurable, or right where a failure is listed.
    pub failed: usize,
    /// Not applicable, no such device, or failed as expected.
    pub skipped: usize,
}

impl Count {
    /// The sum over all columns.
    pub fn of(columns: &[Column]) -> Self {
        let mut count = Self::default();
        for outcome in columns.iter().flat_map(|column| &column.outcomes) {
            if outcome.passes() {
                count.passed += 1;
            } else if outcome.fails() {
                count.failed += 1;
            } else {
                count.skipped += 1;
            }
        }
        count
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// The table with its notes: why cells are skipped, what fails.
pub fn table(cases: &[Case], columns: &[Column]) -> String {
    let mut notes: Vec<String> = Vec::new();
    let mut failures: Vec<String> = Vec::new();
    let mut rows = vec![vec!["largest error / tolerance".to_owned()]];
    rows[0].extend(columns.iter().map(heading));
    for (index, case) in cases.iter().enumerate() {
        let mut row = vec![case.to_string()];
        for column in columns {
            let outcome = &column.outcomes[index];
            row.push(cell(outcome, &mut notes));
            // What befalls a whole column is said once.
            let whole = column.outcomes.windows(2).all(|pair| pair[0] == pair[1]);
            let place =
                if whole { heading(column) } else { format!("{}, {case}", heading(column)) };
            for failure in causes(outcome).map(|why| format!("{place}: {why}")) {
                if !failures.contains(&failure) {
                    failures.push(failure);
                }
            }
        }
        rows.push(row);
    }
    let mut text = aligned(&rows);
    for (index, note) in notes.iter().enumerate() {
        let _ = write!(text, "\n[{}] {note}", index + 1);
    }
    for failure in failures {
        let _ = write!(text, "\nFAILED {failure}");
    }
    text
}

fn heading(column: &Column) -> String {
    format!("{} {}", column.device, column.dtype)
}

/// A cell; a reason becomes the number of a note.
fn cell(outcome: &Outcome, notes: &mut Vec<String>) -> String {
    let mut note = |reason: String| {
        let known = notes.iter().position(|note| *note == reason);
        known.map_or_else(
            || {
                notes.push(reason);
                notes.len()
            },
            |index| index + 1,
        )
    };
    match (outcome, outcome.worst()) {
        (Outcome::Measured(_), Some(Measured { error, tolerance, .. })) => {
            let word = if outcome.passes() { "pass" } else { "FAIL" };
            format!("{error:.1e}/{tolerance:.0e} {word}")
        }
        (Outcome::Skipped(reason), _) => format!("skipped [{}]", note(reason.clone())),
        (Outcome::ExpectedFailure(reason), _) => {
            format!("expected failure [{}]", note((*reason).to_owned()))
        }
        _ => "FAIL".to_owned(),
    }
}

/// Everything that is wrong with an outcome.
fn causes(outcome: &Outcome) -> impl Iterator<Item = String> {
    let measured = match outcome {
        Outcome::Measured(all) => all.as_slice(),
        _ => &[],
    };
    let wrong = measured.iter().filter(|measured| !measured.passes()).map(|measured| {
        let Measured { what, error, tolerance } = measured;
        format!("{what} {error:.2e}, tolerance {tolerance:.0e}")
    });
    let failed = match outcome {
        Outcome::Failed(reason) => Some(reason.clone()),
        _ => None,
    };
    wrong.chain(failed)
}

/// Rows with their columns below each other.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}
