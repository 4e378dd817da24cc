//! Results as a Parquet table: a column for each field of the lines.

use std::io;
use std::path::Path;
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use tempfile::NamedTempFile;

use crate::wire::ResultRow;
use crate::{BatchError, whole};

/// The columns. A row without an answer has an `error` and neither `text`, `token_ids` nor
/// `finish_reason`.
const SCHEMA: &str = "
message results {
  required binary id (STRING);
  required group images (LIST) { repeated group list { required binary element (STRING); } }
  required binary prompt (STRING);
  optional binary text (STRING);
  optional group token_ids (LIST) {
    repeated group list { required int32 element (INTEGER(32, false)); }
  }
  optional binary finish_reason (STRING);
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
    let file = whole::beside(path).map_err(failed)?;
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
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

fn write_group(
    writer: &mut SerializedFileWriter<NamedTempFile>,
    rows: &[ResultRow],
) -> ParquetResult<()> {
    let required = |field: fn(&ResultRow) -> &str| {
        let values = rows.iter().map(|row| field(row).into()).collect();
        Column::Text { values, definitions: None, repetitions: None }
    };
    let columns = [
        required(|row| &row.id),
        pictures(rows),
        required(|row| &row.prompt),
        optional(rows, |row| row.text.as_deref()),
        tokens(rows),
        optional(rows, |row| row.finish_reason.as_deref()),
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
    Numbers { values: Vec<i32>, definitions: Vec<i16>, repetitions: Vec<i16> },
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

/// A list may be missing (0), empty (1), or have items (2).
fn tokens(rows: &[ResultRow]) -> Column {
    let (mut values, mut definitions, mut repetitions) = (Vec::new(), Vec::new(), Vec::new());
    for row in rows {
        match &row.token_ids {
            Some(ids) if !ids.is_empty() => {
                values.extend(ids.iter().map(|&id| id.cast_signed()));
                definitions.resize(definitions.len() + ids.len(), 2);
                repetitions.extend(starts(ids.len()));
            }
            ids => {
                definitions.push(i16::from(ids.is_some()));
                repetitions.push(0);
            }
        }
    }
    Column::Numbers { values, definitions, repetitions }
}

/// Where a list begins: 0 for its first item, 1 for those after it.
fn starts(length: usize) -> impl Iterator<Item = i16> {
    (0..length).map(|item| i16::from(item > 0))
}
