//! Where results go: lines, what they are results of, and the table made of them.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use crate::job::Identity;
use crate::journal::Journal;
use crate::{BatchError, Job, table};

/// Results that can be begun or gone on with; nothing is written before [`crate::run`].
///
/// Beside `NAME.jsonl` lies `NAME.jsonl.job`, which says of what model, rows and options it holds the
/// results. Beside `NAME.parquet` lie `NAME.parquet.jsonl`, from which it is made at the end, and
/// `NAME.parquet.jsonl.job`.
#[derive(Debug)]
pub struct Output {
    lines: PathBuf,
    table: Option<PathBuf>,
    /// Whether there are results already, of the same job.
    begun: bool,
}

impl Output {
    /// New results.
    ///
    /// # Errors
    /// If there are some already, the folder is not there, or the name ends in neither `.jsonl` nor
    /// `.parquet`.
    pub fn create(path: &Path) -> Result<Self, BatchError> {
        let (lines, table) = places(path)?;
        for taken in [path, &lines] {
            if taken.exists() {
                return Err(BatchError::Exists { path: taken.to_owned() });
            }
        }
        let folder = lines.parent().filter(|folder| !folder.as_os_str().is_empty());
        if folder.is_some_and(|folder| !folder.is_dir()) {
            return Err(BatchError::NoFolder { path: path.to_owned() });
        }
        Ok(Self { lines, table, begun: false })
    }

    /// The results that are there, or new ones where there are none.
    ///
    /// # Errors
    /// If results are there that belong to another job, or the name ends in neither `.jsonl` nor
    /// `.parquet`.
    pub fn resume(path: &Path, job: &Job) -> Result<Self, BatchError> {
        let (lines, table) = places(path)?;
        if !lines.exists() {
            return match table.filter(|table| table.exists()) {
                Some(table) => Err(BatchError::Unknown { path: table, missing: lines }),
                None => Self::create(path),
            };
        }
        let identity = identity_beside(&lines);
        let begun = match Identity::read(&identity) {
            Ok(begun) => begun,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(BatchError::Unknown { path: lines, missing: identity });
            }
            Err(source) => return Err(BatchError::Write { path: identity, source }),
        };
        match begun.difference(&Identity::of(job)) {
            Some(what) => Err(BatchError::OtherJob { path: lines, what }),
            None => Ok(Self { lines, table, begun: true }),
        }
    }

    /// Opens the lines, ready for the next.
    pub(crate) fn open(&self, job: &Job) -> Result<Journal, BatchError> {
        if self.begun {
            return Journal::open(&self.lines, &job.rows);
        }
        // The lines first: who else begins them at the same time fails here, and changes nothing.
        let journal = Journal::create(&self.lines)?;
        let path = identity_beside(&self.lines);
        Identity::of(job).write(&path).map_err(|source| BatchError::Write { path, source })?;
        Ok(journal)
    }

    /// Makes the table, if one is wanted.
    pub(crate) fn finish(&self, journal: &Journal) -> Result<(), BatchError> {
        match &self.table {
            Some(path) => table::write(path, journal.results()?),
            None => Ok(()),
        }
    }
}

/// Where the lines go, and where the table.
fn places(path: &Path) -> Result<(PathBuf, Option<PathBuf>), BatchError> {
    match path.extension().and_then(OsStr::to_str) {
        Some("jsonl") => Ok((path.to_owned(), None)),
        Some("parquet") => Ok((beside(path, ".jsonl"), Some(path.to_owned()))),
        _ => Err(BatchError::OutputName { path: path.to_owned() }),
    }
}

fn identity_beside(lines: &Path) -> PathBuf {
    beside(lines, ".job")
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}
