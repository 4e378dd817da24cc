//! Tables in Parquet, with pictures by name or inside, as Hugging Face data sets keep them.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use paligemma_processor::image;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};
use parquet::schema::types::Type;
use tempfile::TempDir;

use super::table::{TableOptions, files};
use super::{Imported, Notes};
use crate::pictures::Sizes;
use crate::{DataError, Example, Place, Problem};

/// Makes a row of every row of a Parquet file, or of all files `*.parquet` in a folder.
///
/// A picture is a name, looked for from the file's folder on, or a group of `bytes` and `path`, of
/// which `bytes` come first. Pictures inside are written into the folder `pictures`, which must not
/// be there yet and appears when all is well.
///
/// # Errors
/// [`DataError::NoColumn`], [`DataError::Exists`], and [`DataError::Faults`] if any row lacks a
/// text or picture, has a control token, or its picture cannot be read.
pub fn import_parquet(
    source: &Path,
    options: &TableOptions,
    pictures: &Path,
) -> Result<Imported, DataError> {
    let mut table =
        Table { options, inside: Inside::new(pictures), notes: Notes::new(&[]), rows: Vec::new() };
    let tables = if source.is_dir() { files(source)? } else { vec![source.to_owned()] };
    let is_table =
        |path: &&PathBuf| !source.is_dir() || path.extension() == Some(OsStr::new("parquet"));
    for path in tables.iter().filter(is_table) {
        table.read(path)?;
    }
    let Table { inside, mut notes, rows, .. } = table;
    let sizes = Sizes::of(rows.iter().map(|row| row.picture.as_path()));
    let mut examples = Vec::with_capacity(rows.len());
    for row in rows {
        let unread = sizes.get(&row.picture).err().map(|problem| row.named(problem));
        for problem in row.example.problems().into_iter().chain(unread) {
            notes.add(&row.file, row.place.clone(), problem);
        }
        examples.push(row.example);
    }
    let imported = notes.finish(source, examples)?;
    inside.keep()?;
    Ok(imported)
}

/// Rows being read.
struct Table<'a> {
    options: &'a TableOptions,
    inside: Inside<'a>,
    notes: Notes<'a>,
    rows: Vec<Read>,
}

/// A row that has all it needs.
struct Read {
    file: PathBuf,
    place: Place,
    /// Where its picture is until all is well.
    picture: PathBuf,
    example: Example,
}

impl Read {
    /// A problem of its picture, which is called what it will be called.
    fn named(&self, problem: Problem) -> Problem {
        let [now, then] = [&self.picture, &self.example.images[0]].map(|path| path.display());
        match problem {
            Problem::Picture { reason } => {
                Problem::Picture { reason: reason.replace(&now.to_string(), &then.to_string()) }
            }
            other => other,
        }
    }
}

impl Table<'_> {
    fn read(&mut self, path: &Path) -> Result<(), DataError> {
        let file =
            File::open(path).map_err(|source| DataError::Read { path: path.to_owned(), source })?;
        let wrong = |error: ParquetError| DataError::Format {
            path: path.to_owned(),
            reason: error.to_string(),
        };
        let reader = SerializedFileReader::new(file).map_err(wrong)?;
        let schema = reader.metadata().file_metadata().schema();
        let there: Vec<String> =
            schema.get_fields().iter().map(|field| field.name().to_owned()).collect();
        let (image, prefix, suffix) = self.options.places(path, &there)?;
        let mut wanted: Vec<usize> =
            [Some(image), prefix, Some(suffix)].into_iter().flatten().collect();
        wanted.sort_unstable();
        wanted.dedup();
        let fields = wanted.iter().map(|place| Arc::clone(&schema.get_fields()[*place])).collect();
        let columns = Type::group_type_builder(schema.name()).with_fields(fields).build();
        let rows = reader.get_row_iter(Some(columns.map_err(wrong)?)).map_err(wrong)?;
        for (number, row) in (1..).zip(rows) {
            self.row(path, number, &row.map_err(wrong)?)?;
        }
        Ok(())
    }

    fn row(&mut self, path: &Path, number: usize, row: &Row) -> Result<(), DataError> {
        let place = Place::Record(format!("row {number}"));
        let folder = path.parent().unwrap_or(Path::new(""));
        let texts = self.texts(row);
        let picture = match picture(column(row, &self.options.image)) {
            Ok(Picture::Named(name)) => Ok((folder.join(&name), folder.join(name))),
            Ok(Picture::Inside(bytes)) => Ok(self.inside.add(bytes)?),
            Err(problem) => Err(problem),
        };
        match (texts, picture) {
            (Ok([prefix, suffix]), Ok((picture, image))) => {
                let example = Example::new(vec![image], prefix, suffix);
                self.rows.push(Read { file: path.to_owned(), place, picture, example });
            }
            (texts, picture) => {
                for problem in [texts.err(), picture.err()].into_iter().flatten() {
                    self.notes.add(path, place.clone(), problem);
                }
            }
        }
        Ok(())
    }

    fn texts(&self, row: &Row) -> Result<[String; 2], Problem> {
        let prefix = match &self.options.same_prefix {
            Some(prefix) => prefix.clone(),
            None => text("prefix", column(row, &self.options.prefix))?,
        };
        Ok([prefix, text("suffix", column(row, &self.options.suffix))?])
    }
}

fn column<'r>(row: &'r Row, name: &str) -> &'r Field {
    let found = row.get_column_iter().find(|(column, _)| *column == name);
    found.map_or(&Field::Null, |(_, field)| field)
}

fn text(key: &'static str, field: &Field) -> Result<String, Problem> {
    match field {
        Field::Str(text) => Ok(text.clone()),
        Field::Bytes(bytes) => bytes.as_utf8().map(str::to_owned).map_err(|_| Problem::NotText),
        Field::Null => Err(Problem::MissingKey { key }),
        _ => Err(Problem::Type { key, expected: "a text" }),
    }
}

/// The picture of a row.
enum Picture<'r> {
    Named(String),
    Inside(&'r [u8]),
}

fn picture(field: &Field) -> Result<Picture<'_>, Problem> {
    let named = |field| match text("image", field)? {
        name if name.is_empty() => Err(Problem::Empty { key: "image" }),
        name => Ok(Picture::Named(name)),
    };
    match field {
        Field::Group(row) => match column(row, "bytes") {
            Field::Bytes(bytes) => Ok(Picture::Inside(bytes.data())),
            _ => named(column(row, "path")),
        },
        Field::Bytes(bytes) if image::guess_format(bytes.data()).is_ok() => {
            Ok(Picture::Inside(bytes.data()))
        }
        other => named(other),
    }
}

/// Pictures taken out of tables, in a folder that appears when it is complete.
struct Inside<'a> {
    folder: &'a Path,
    begun: Option<TempDir>,
    count: usize,
}

impl<'a> Inside<'a> {
    fn new(folder: &'a Path) -> Self {
        Self { folder, begun: None, count: 0 }
    }

    /// Writes a picture; returns where it is, and where it will be.
    fn add(&mut self, bytes: &[u8]) -> Result<(PathBuf, PathBuf), DataError> {
        let failed = |source| DataError::Write { path: self.folder.to_owned(), source };
        if self.begun.is_none() && self.folder.exists() {
            return Err(DataError::Exists { path: self.folder.to_owned() });
        }
        let begun = match self.begun.take() {
            Some(begun) => begun,
            None => self.begin().map_err(failed)?,
        };
        let format = image::guess_format(bytes).ok();
        let ending = format.and_then(|format| format.extensions_str().first()).unwrap_or(&"bin");
        let name = format!("{:06}.{ending}", self.count);
        self.count += 1;
        let path = begun.path().join(&name);
        fs::write(&path, bytes).map_err(failed)?;
        self.begun = Some(begun);
        Ok((path, self.folder.join(name)))
    }

    fn begin(&self) -> std::io::Result<TempDir> {
        let beside = self.folder.parent().filter(|folder| !folder.as_os_str().is_empty());
        let mut builder = tempfile::Builder::new();
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
        builder.tempdir_in(beside.unwrap_or(Path::new(".")))
    }

    /// Puts the folder, if there is one, into its place.
    fn keep(self) -> Result<(), DataError> {
        let Some(begun) = self.begun else { return Ok(()) };
        let moved = fs::rename(begun.path(), self.folder);
        moved.map_err(|source| DataError::Write { path: self.folder.to_owned(), source })?;
        // Nothing is left there to take away.
        let _ = begun.keep();
        Ok(())
    }
}
