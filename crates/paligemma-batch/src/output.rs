//! Where results go: lines, what they are results of, and the table made of them.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use crate::job::Identity;
use crate::journal::Journal;
use crate::{BatchError, Job, table};

/// Results that were begun, or are gone on with.
///
/// Beside `NAME.jsonl` lies `NAME.jsonl.job`, which says of what model, rows and options it holds the
/// results. Beside `NAME.parquet` lie `NAME.parquet.jsonl`, from which it is made at the end, and
/// `NAME.parquet.jsonl.job`.
#[derive(Debug)]
pub struct Output {
    pub(crate) journal: Journal,
    table: Option<PathBuf>,
}

impl Output {
    /// Begins new results.
    ///
    /// # Errors
    /// If there are some already, the name ends in neither `.jsonl` nor `.parquet`, or nothing can be
    /// written there.
    pub fn create(path: &Path, job: &Job) -> Result<Self, BatchError> {
        let (lines, table) = places(path)?;
        for taken in [path, &lines] {
            if taken.exists() {
                return Err(BatchError::Exists { path: taken.to_owned() });
            }
        }
        Self::begin(&lines, table, job)
    }

    /// Goes on with results, or begins them where there are none.
    ///
    /// # Errors
    /// As [`Output::create`], but for results that belong to the same job; and if another process is
    /// writing them.
    pub fn resume(path: &Path, job: &Job) -> Result<Self, BatchError> {
        let (lines, table) = places(path)?;
        if !lines.exists() {
            return Self::create(path, job);
        }
        let identity = identity_beside(&lines);
        let begun = match Identity::read(&identity) {
            Ok(begun) => begun,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(BatchError::Unknown { path: lines, missing: identity });
            }
            Err(source) => return Err(BatchError::Write { path: identity, source }),
        };
        if let Some(what) = begun.difference(&Identity::of(job)) {
            return Err(BatchError::OtherJob { path: lines, what });
        }
        Ok(Self { journal: Journal::open(&lines, &job.rows)?, table })
    }

    fn begin(lines: &Path, table: Option<PathBuf>, job: &Job) -> Result<Self, BatchError> {
        let path = identity_beside(lines);
        Identity::of(job).write(&path).map_err(|source| BatchError::Write { path, source })?;
        Ok(Self { journal: Journal::create(lines)?, table })
    }

    /// Rows that have a result.
    pub fn done(&self) -> usize {
        self.journal.done
    }

    /// Makes the table, if one is wanted.
    pub(crate) fn finish(&self) -> Result<(), BatchError> {
        match &self.table {
            Some(path) => table::write(path, self.journal.results()?),
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
