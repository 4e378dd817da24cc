//! The lines of results on disk: appended whole, and taken up where they end.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead as _, BufReader, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use crate::wire::ResultRow;
use crate::{BatchError, Row};

/// The results of the first rows of a job.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    /// Rows with a result.
    pub(crate) done: usize,
    /// Those of them without an answer.
    pub(crate) failed: usize,
}

impl Journal {
    /// An empty file where there is none.
    pub(crate) fn create(path: &Path) -> Result<Self, BatchError> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path);
        Self::locked(path, file)
    }

    /// The results that are there. A line that was cut off is taken away, and its row left to be
    /// answered again.
    pub(crate) fn open(path: &Path, rows: &[Row]) -> Result<Self, BatchError> {
        let file = OpenOptions::new().read(true).write(true).open(path);
        let mut journal = Self::locked(path, file)?;
        let mut reader = BufReader::new(&journal.file);
        let (mut line, mut whole) = (Vec::new(), 0);
        let (mut done, mut failed) = (0, 0);
        while reader.read_until(b'\n', &mut line).map_err(|source| write_error(path, source))? > 0 {
            if !line.ends_with(b"\n") {
                break;
            }
            let result = serde_json::from_slice::<ResultRow>(&line).ok();
            let damaged = || BatchError::Damaged { path: path.to_owned(), line: done + 1 };
            let row = rows.get(done).ok_or_else(damaged)?;
            let result = result.filter(|result| result.id == row.id).ok_or_else(damaged)?;
            done += 1;
            failed += usize::from(result.error.is_some());
            whole += line.len() as u64;
            line.clear();
        }
        let end = journal.file.set_len(whole);
        end.and_then(|()| journal.file.seek(SeekFrom::Start(whole)))
            .map_err(|source| write_error(path, source))?;
        (journal.done, journal.failed) = (done, failed);
        Ok(journal)
    }

    fn locked(path: &Path, file: io::Result<File>) -> Result<Self, BatchError> {
        let file = file.map_err(|source| write_error(path, source))?;
        // Some file systems know no locks: there it is up to the user.
        if matches!(file.try_lock(), Err(TryLockError::WouldBlock)) {
            return Err(BatchError::Locked { path: path.to_owned() });
        }
        Ok(Self { path: path.to_owned(), file, done: 0, failed: 0 })
    }

    /// Adds the results of the next rows, in one piece.
    pub(crate) fn append(&mut self, results: &[ResultRow]) -> Result<(), BatchError> {
        let mut lines = Vec::new();
        for result in results {
            serde_json::to_writer(&mut lines, result)
                .map_err(|error| write_error(&self.path, error.into()))?;
            lines.push(b'\n');
        }
        self.file.write_all(&lines).map_err(|source| write_error(&self.path, source))?;
        self.done += results.len();
        self.failed += results.iter().filter(|result| result.error.is_some()).count();
        Ok(())
    }

    /// All results, one by one; nothing can be added after that.
    pub(crate) fn results(
        &self,
    ) -> Result<impl Iterator<Item = Result<ResultRow, BatchError>>, BatchError> {
        let path = self.path.clone();
        // Not a file opened anew: on some systems the lock keeps others from reading, too.
        let mut file = self.file.try_clone().map_err(|source| write_error(&path, source))?;
        file.seek(SeekFrom::Start(0)).map_err(|source| write_error(&path, source))?;
        let lines = BufReader::new(file).lines();
        Ok(lines.map(move |line| {
            let row = line.and_then(|line| Ok(serde_json::from_str(&line)?));
            row.map_err(|source| write_error(&path, source))
        }))
    }
}

fn write_error(path: &Path, source: io::Error) -> BatchError {
    BatchError::Write { path: path.to_owned(), source }
}
