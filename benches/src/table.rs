//! The table of docs/benchmarks.md: medians, ratios to PyTorch, and the machine.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::Result;
use crate::measure::Measured;

/// The lines of a page between which a table stands.
pub(crate) struct Marks {
    pub(crate) begin: &'static str,
    pub(crate) end: &'static str,
}

/// Those of the table of `bench-peers`.
pub(crate) const MARKS: Marks = Marks {
    begin: "<!-- table: written by `cargo xtask bench-peers` -->",
    end: "<!-- end of the table -->",
};

/// One measurement, and how fast memory was.
pub(crate) struct Taken {
    pub(crate) measured: Measured,
    /// What memory read before or after, whichever is less, in GB per second.
    pub(crate) memory: f64,
}

/// What was measured of one.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) dtype: &'static str,
    pub(crate) taken: Vec<Taken>,
    pub(crate) failure: Option<String>,
}

/// A column: its heading, its value, and its decimals.
type Column = (&'static str, fn(&Measured) -> Option<f64>, usize);

/// Bytes of the unit that memory is given in.
pub(crate) const GIB: f64 = (1_u64 << 30) as f64;

const COLUMNS: [Column; 7] = [
    ("load, s", |m| Some(m.load_s), 2),
    ("start to first token, s", |m| Some(m.first_token_s), 2),
    ("vision, s", |m| Some(m.vision_s), 3),
    ("prefill, s", |m| Some(m.prefill_s), 3),
    ("decode, tok/s", |m| Some(m.decode_tokens_per_s), 2),
    ("decode of 8, tok/s", |m| Some(m.batch8_tokens_per_s), 2),
    ("peak, GiB", |m| Some(m.peak_rss_bytes? as f64 / GIB), 2),
];

impl Row {
    pub(crate) fn new(name: &'static str, dtype: &'static str) -> Self {
        Self { name, dtype, taken: Vec::new(), failure: None }
    }

    fn median(&self, (_, value, _): &Column) -> Option<f64> {
        let values = self.taken.iter().map(|taken| value(&taken.measured));
        let mut values = values.collect::<Option<Vec<f64>>>()?;
        values.sort_by(f64::total_cmp);
        let (low, high) = (values.get(values.len().checked_sub(1)? / 2)?, values[values.len() / 2]);
        Some(f64::midpoint(*low, high))
    }

    /// The least and the most that memory read beside the measurements.
    fn memory(&self) -> String {
        let rates = || self.taken.iter().map(|taken| taken.memory);
        let (least, most) = (rates().fold(f64::MAX, f64::min), rates().fold(0.0, f64::max));
        format!("{least:.0} to {most:.0}")
    }

    /// The cells after the name: medians, each with its ratio to the yardstick's.
    fn cells(&self, yardstick: Option<&Self>) -> String {
        if let Some(failure) = &self.failure {
            let rest = " |".repeat(COLUMNS.len() - 1);
            return format!(" not measured: {} |{rest}", failure.replace('|', "/"));
        }
        let cell = |column: &Column| {
            let Some(value) = self.median(column) else { return " - |".to_owned() };
            let decimals = column.2;
            match yardstick.and_then(|row| row.median(column)) {
                Some(of) => format!(" {value:.decimals$} ({:.2}x) |", value / of),
                None => format!(" {value:.decimals$} |"),
            }
        };
        COLUMNS.iter().map(cell).collect()
    }
}

/// The table with what it takes to judge it.
pub(crate) fn render(rows: &[Row], machine: &str, command: &str) -> String {
    let yardstick = rows
        .iter()
        .find(|row| (row.name, row.dtype) == ("transformers", "bf16") && row.failure.is_none());
    let mut text = String::from("| | dtype |");
    for (heading, ..) in &COLUMNS {
        text.extend([" ", heading, " |"]);
    }
    text.extend(["\n|---|---|", &"---|".repeat(COLUMNS.len()), "\n"]);
    for row in rows {
        text.extend(["| ", row.name, " | ", row.dtype, " |", &row.cells(yardstick), "\n"]);
    }
    let runs = rows.iter().map(|row| row.taken.len()).max().unwrap_or(0);
    let times = if yardstick.is_some() { "; in brackets, times PyTorch's bf16" } else { "" };
    let _ = writeln!(text, "\nMedians of {runs} runs in turns{times}.\n");
    text.push_str("| | version | threads | first token | norm of its logits | memory, GB/s |\n");
    text.push_str("|---|---|---|---|---|---|\n");
    for row in rows {
        let Some(Taken { measured, .. }) = row.taken.last() else { continue };
        let Measured { version, threads, first_token, logits_norm, .. } = measured;
        let (Row { name, dtype, .. }, memory) = (row, row.memory());
        let _ = writeln!(
            text,
            "| {name} {dtype} | {version} | {threads} | {first_token} | {logits_norm:.3} | {memory} |"
        );
    }
    let _ = writeln!(text, "\n{machine}\n\n```sh\n{command}\n```");
    text
}

/// Puts the table between the marks of the page.
///
/// # Errors
/// If the page cannot be read or written, or has no marks.
pub(crate) fn insert(page: &Path, marks: &Marks, table: &str) -> Result {
    let text = fs::read_to_string(page)
        .map_err(|error| format!("cannot read {}: {error}", page.display()))?;
    let Marks { begin, end } = marks;
    let replaced = replace(&text, marks, table)
        .ok_or_else(|| format!("{} lacks the lines `{begin}` and `{end}`", page.display()))?;
    fs::write(page, replaced)
        .map_err(|error| format!("cannot write {}: {error}", page.display()).into())
}

fn replace(text: &str, Marks { begin, end }: &Marks, table: &str) -> Option<String> {
    let (before, rest) = text.split_once(begin)?;
    let (_, after) = rest.split_once(end)?;
    Some(format!("{before}{begin}\n\n{table}\n{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(prefill_s: f64) -> Measured {
        Measured {
            device: None,
            engine: String::new(),
            version: "1.2".to_owned(),
            dtype: String::new(),
            threads: 2,
            load_s: 1.0,
            first_token_s: 2.0,
            vision_s: 0.5,
            prefill_s,
            decode_tokens_per_s: 4.0,
            batch8_tokens_per_s: 30.0,
            peak_rss_bytes: Some(3 << 30),
            first_token: 9,
            logits_norm: 1.5,
            last_logits: Vec::new(),
        }
    }

    fn row(name: &'static str, dtype: &'static str, prefill: &[f64]) -> Row {
        let taken = |(memory, prefill): (u32, &f64)| Taken {
            measured: measured(*prefill),
            memory: f64::from(memory),
        };
        Row { taken: (50..).zip(prefill).map(taken).collect(), ..Row::new(name, dtype) }
    }

    #[test]
    fn medians_stand_beside_their_ratio_to_pytorch() {
        let rows = [
            row("paligemma", "bf16", &[9.0, 1.0, 0.5]),
            row("transformers", "bf16", &[2.0, 1.0, 4.0, 3.0]),
        ];
        let table = render(&rows, "machine", "cargo");
        assert!(table.contains("| paligemma | bf16 | 1.00 (1.00x) |"), "{table}");
        assert!(table.contains(" 1.000 (0.40x) |"), "{table}");
        assert!(table.contains(" 2.500 (1.00x) |"), "{table}");
        assert!(
            table.contains("| transformers bf16 | 1.2 | 2 | 9 | 1.500 | 50 to 53 |"),
            "{table}"
        );
    }

    #[test]
    fn what_cannot_be_measured_says_why() {
        let mut failed = row("transformers", "bf16", &[]);
        failed.failure = Some("no | network".to_owned());
        let table = render(&[failed, row("paligemma", "f32", &[1.0])], "machine", "cargo");
        assert!(table.contains("| not measured: no / network | | | | | | |\n"), "{table}");
        assert!(table.contains("| paligemma | f32 | 1.00 |"), "no ratios without PyTorch: {table}");
    }

    #[test]
    fn only_what_stands_between_the_marks_changes() {
        let Marks { begin, end } = MARKS;
        let page = format!("before\n\n{begin}\nold\n{end}\n\nafter\n");
        let expected = format!("before\n\n{begin}\n\nnew\n\n{end}\n\nafter\n");
        assert_eq!(replace(&page, &MARKS, "new\n").unwrap(), expected);
        assert_eq!(replace(&expected, &MARKS, "new\n").unwrap(), expected);
        assert_eq!(replace("no marks", &MARKS, "new"), None);
    }
}
