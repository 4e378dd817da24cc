//! Results as a Parquet table: a column for each field of the lines.

use std::io;
use std::path::Path;
use std::sync::Arc;

use paligemma_files::WholeFile;
use parquet::basic::Compression;
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use crate::BatchError;
use crate::wire::{Box, ResultRow};

/// The columns. A row without an answer has an `error` and none of the other optional columns.
const SCHEMA: &str = "
message results {
  required binary id (STRING);
  required group images (LIST) { repeated group list { required binary element (STRING); } }
  optional int32 width (INTEGER(32, false));
  optional int32 height (INTEGER(32, false));
  required binary prompt (STRING);
  optional binary text (STRING);
  optional group token_ids (LIST) {
    repeated group list { required int32 element (INTEGER(32, false)); }
  }
  optional binary finish_reason (STRING);
  optional group boxes (LIST) {
    repeated group list {
      required group element {
        required binary label (STRING);
        required float x0;
        required float y0;
        required float x1;
        required float y1;
        required float confidence;
      }
    }
  }
  optional binary error (STRING);
}";

/// Rows that are held while they are written.
const GROUP: usize = 16_384;

/// Writes the table whole or not at all.
pub(crate) fn write(
    path: &Path,
    mut rows: impl Iterator<Item = Result<ResultRow, BatchError>>,
) -> Result<(), BatchError> {
    let wrong = |source| BatchError::Table { path: path.to_owned(), source };
    let failed = |source: io::Error| BatchError::Write { path: path.to_owned(), source };
    let file = WholeFile::at(path).map_err(failed)?;
    let schema = Arc::new(parse_message_type(SCHEMA).map_err(wrong)?);
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut writer =
        SerializedFileWriter::new(file, schema, Arc::new(properties)).map_err(wrong)?;
    loop {
        let group: Vec<ResultRow> = rows.by_ref().take(GROUP).collect::<Result<_, _>>()?;
        if group.is_empty() {
            break;
        }
        write_group(&mut writer, &group).map_err(wrong)?;
    }
    let file = writer.into_inner().map_err(wrong)?;
    file.appear().map(drop).map_err(failed)
}

fn write_group(
    writer: &mut SerializedFileWriter<WholeFile>,
    rows: &[ResultRow],
) -> ParquetResult<()> {
    let required = |field: fn(&ResultRow) -> &str| {
        let values = rows.iter().map(|row| field(row).into()).collect();
        Column::Text { values, definitions: None, repetitions: None }
    };
    let columns = [
        required(|row| &row.id),
        pictures(rows),
        pixels(rows, |row| row.width),
        pixels(rows, |row| row.height),
        required(|row| &row.prompt),
        optional(rows, |row| row.text.as_deref()),
        tokens(rows),
        optional(rows, |row| row.finish_reason.as_deref()),
        labels(rows),
        of_boxes(rows, |found| found.x0),
        of_boxes(rows, |found| found.y0),
        of_boxes(rows, |found| found.x1),
        of_boxes(rows, |found| found.y1),
        of_boxes(rows, |found| found.confidence),
        optional(rows, |row| row.error.as_deref()),
    ];
    let mut group = writer.next_row_group()?;
    for column in &columns {
        let mut open = group.next_column()?.ok_or_else(|| {
            ParquetError::General("the schema has fewer columns than results have".to_owned())
        })?;
        column.write(open.untyped())?;
        open.close()?;
    }
    group.close()?;
    Ok(())
}

/// The values of a column and the levels that say which rows they belong to (Parquet's
/// `LogicalTypes.md`, lists).
enum Column {
    Text { values: Vec<ByteArray>, definitions: Option<Vec<i16>>, repetitions: Option<Vec<i16>> },
    Numbers { values: Vec<i32>, definitions: Vec<i16>, repetitions: Option<Vec<i16>> },
    Fractions { values: Vec<f32>, definitions: Vec<i16>, repetitions: Vec<i16> },
}

impl Column {
    fn write(&self, writer: &mut ColumnWriter<'_>) -> ParquetResult<()> {
        match (self, writer) {
            (
                Self::Text { values, definitions, repetitions },
                ColumnWriter::ByteArrayColumnWriter(writer),
            ) => {
                writer.write_batch(values, definitions.as_deref(), repetitions.as_deref())?;
            }
            (
                Self::Numbers { values, definitions, repetitions },
                ColumnWriter::Int32ColumnWriter(writer),
            ) => {
                writer.write_batch(values, Some(definitions), repetitions.as_deref())?;
            }
            (
                Self::Fractions { values, definitions, repetitions },
                ColumnWriter::FloatColumnWriter(writer),
            ) => {
                writer.write_batch(values, Some(definitions), Some(repetitions))?;
            }
            _ => return Err(ParquetError::General("a column has another type".to_owned())),
        }
        Ok(())
    }
}

fn optional(rows: &[ResultRow], field: fn(&ResultRow) -> Option<&str>) -> Column {
    let definitions = rows.iter().map(|row| i16::from(field(row).is_some())).collect();
    let values = rows.iter().filter_map(field).map(Into::into).collect();
    Column::Text { values, definitions: Some(definitions), repetitions: None }
}

/// Every row has at least one picture, so each is defined.
fn pictures(rows: &[ResultRow]) -> Column {
    let values: Vec<ByteArray> =
        rows.iter().flat_map(ResultRow::pictures).map(|name| name.as_str().into()).collect();
    let repetitions = rows.iter().flat_map(|row| starts(row.pictures().len())).collect();
    let definitions = Some(vec![1; values.len()]);
    Column::Text { values, definitions, repetitions: Some(repetitions) }
}

fn pixels(rows: &[ResultRow], field: fn(&ResultRow) -> Option<u32>) -> Column {
    let definitions = rows.iter().map(|row| i16::from(field(row).is_some())).collect();
    let values = rows.iter().filter_map(field).map(u32::cast_signed).collect();
    Column::Numbers { values, definitions, repetitions: None }
}

fn tokens(rows: &[ResultRow]) -> Column {
    let lists = || rows.iter().map(|row| row.token_ids.as_deref());
    let (definitions, repetitions) = levels(lists().map(|list| list.map(<[u32]>::len)));
    let values = lists().flatten().flatten().map(|&id| id.cast_signed()).collect();
    Column::Numbers { values, definitions, repetitions: Some(repetitions) }
}

fn labels(rows: &[ResultRow]) -> Column {
    let (definitions, repetitions) = box_levels(rows);
    let values = boxes(rows).map(|found| found.label.as_str().into()).collect();
    Column::Text { values, definitions: Some(definitions), repetitions: Some(repetitions) }
}

fn of_boxes(rows: &[ResultRow], field: fn(&Box) -> f32) -> Column {
    let (definitions, repetitions) = box_levels(rows);
    Column::Fractions { values: boxes(rows).map(field).collect(), definitions, repetitions }
}

fn boxes(rows: &[ResultRow]) -> impl Iterator<Item = &Box> {
    rows.iter().filter_map(|row| row.boxes.as_deref()).flatten()
}

fn box_levels(rows: &[ResultRow]) -> (Vec<i16>, Vec<i16>) {
    levels(rows.iter().map(|row| row.boxes.as_deref().map(<[Box]>::len)))
}

/// The levels of lists of these lengths: a list may be missing (0), empty (1), or have items (2).
fn levels(lengths: impl Iterator<Item = Option<usize>>) -> (Vec<i16>, Vec<i16>) {
    let (mut definitions, mut repetitions) = (Vec::new(), Vec::new());
    for length in lengths {
        match length {
            Some(length) if length > 0 => {
                definitions.resize(definitions.len() + length, 2);
                repetitions.extend(starts(length));
            }
            length => {
                definitions.push(i16::from(length.is_some()));
                repetitions.push(0);
            }
        }
    }
    (definitions, repetitions)
}

/// Where a list begins: 0 for its first item, 1 for those after it.
fn starts(length: usize) -> impl Iterator<Item = i16> {
    (0..length).map(|item| i16::from(item > 0))
}
