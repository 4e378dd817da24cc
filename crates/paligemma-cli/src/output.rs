//! The standard output: written at once, and never with a panic.

use std::io::{self, Write};

use serde::Serialize;

use crate::error::Error;

/// Prints text as it is, so that it is seen now.
pub(crate) fn text(text: &str) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// Prints one JSON object on a line.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Error> {
    let line = serde_json::to_string(value).map_err(io::Error::from)?;
    text(&format!("{line}\n"))
}

/// Prints rows below what their columns are called; nothing if there are none.
pub(crate) fn table_of<const N: usize>(
    head: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
) -> Result<(), Error> {
    let rows: Vec<[String; N]> = std::iter::once(head.map(str::to_owned)).chain(rows).collect();
    if rows.len() > 1 { table(&rows) } else { Ok(()) }
}

/// Prints rows as columns of text, the last of them not padded.
pub(crate) fn table<const N: usize>(rows: &[[String; N]]) -> Result<(), Error> {
    let mut lines = String::new();
    for row in rows {
        let cells = row.iter().enumerate().map(|(column, cell)| {
            let widths = rows.iter().map(|row| row[column].chars().count());
            let width = if column + 1 == N { 0 } else { widths.max().unwrap_or(0) };
            format!("{cell:width$}")
        });
        lines.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        lines.push('\n');
    }
    text(&lines)
}
