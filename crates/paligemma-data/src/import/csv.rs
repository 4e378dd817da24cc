//! Tables as text: a row for each line, the first line for names of columns.

use std::ffi::OsStr;
use std::path::Path;

use csv::{ByteRecord, ReaderBuilder};

use super::table::TableOptions;
use super::{Imported, Notes};
use crate::pictures::Sizes;
use crate::{DataError, Example, Place, Problem};

/// Makes a row of every line of a CSV file; the columns of one that ends in `.tsv` are apart by
/// tabs. Pictures are looked for from the file's folder on.
///
/// # Errors
/// [`DataError::NoColumn`], and [`DataError::Faults`] if any line has too many or too few columns, is
/// not text, has an empty column or a control token, or its picture cannot be read.
pub fn import_csv(path: &Path, options: &TableOptions) -> Result<Imported, DataError> {
    let tabs = path.extension() == Some(OsStr::new("tsv"));
    // The width of every line is checked here, where it does not end the reading.
    let reader = ReaderBuilder::new()
        .flexible(true)
        .delimiter(if tabs { b'\t' } else { b',' })
        .from_path(path);
    let mut reader = reader.map_err(|error| failed(path, error))?;
    let header = reader.byte_headers().map_err(|error| failed(path, error))?;
    let names: Vec<String> =
        header.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    let columns = Columns { places: options.places(path, &names)?, count: names.len(), options };
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut notes = Notes::new(&[]);
    let (mut examples, mut lines) = (Vec::new(), Vec::new());
    for record in reader.byte_records() {
        let record = record.map_err(|error| failed(path, error))?;
        let line = record.position().map_or(0, |position| position.line() as usize);
        match columns.example(&record, folder) {
            Ok(example) => {
                examples.push(example);
                lines.push(line);
            }
            Err(problem) => notes.add(path, Place::Line(line), problem),
        }
    }
    let sizes = Sizes::of(examples.iter().flat_map(|row| &row.images).map(AsRef::as_ref));
    for (line, example) in lines.into_iter().zip(&examples) {
        let unread = example.images.iter().filter_map(|image| sizes.get(image).err());
        for problem in example.problems().into_iter().chain(unread) {
            notes.add(path, Place::Line(line), problem);
        }
    }
    notes.finish(path, examples)
}

fn failed(path: &Path, error: csv::Error) -> DataError {
    let path = path.to_owned();
    let reason = error.to_string();
    match error.into_kind() {
        csv::ErrorKind::Io(source) => DataError::Read { path, source },
        _ => DataError::Format { path, reason },
    }
}

/// Which columns rows are made of.
struct Columns<'a> {
    /// Of picture, prefix and suffix.
    places: (usize, Option<usize>, usize),
    count: usize,
    options: &'a TableOptions,
}

impl Columns<'_> {
    fn example(&self, record: &ByteRecord, folder: &Path) -> Result<Example, Problem> {
        if record.len() != self.count {
            let (found, expected) = (record.len(), self.count);
            let reason = format!("the line has {found} columns, the first has {expected}");
            return Err(Problem::Malformed { reason });
        }
        let text = |place: usize| {
            str::from_utf8(&record[place]).map(str::to_owned).map_err(|_| Problem::NotText)
        };
        let (image, prefix, suffix) = self.places;
        let image = text(image)?;
        if image.is_empty() {
            return Err(Problem::Empty { key: "image" });
        }
        let prefix = match prefix {
            Some(place) => text(place)?,
            None => self.options.same_prefix.clone().unwrap_or_default(),
        };
        Ok(Example::new(vec![folder.join(image)], prefix, text(suffix)?))
    }
}
