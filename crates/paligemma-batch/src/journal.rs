//! The lines of results on disk: appended whole, taken up where they end, and put right where rows
//! had no answer.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead as _, BufReader, BufWriter, Seek as _, SeekFrom, Write as _};
use std::mem;
use std::path::{Path, PathBuf};

use paligemma_files::WholeFile;

use crate::wire::ResultRow;
use crate::{BatchError, Row};

/// Steps in which rows without an answer are put right. Each copies all lines, and holds the file
/// before it open until the end.
const STEPS: usize = 8;

/// The results of the first rows of a job.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    /// Files that newer ones have replaced. Their locks keep away those who opened them before that.
    replaced: Vec<File>,
    /// Rows with a line.
    lines: usize,
    /// Places of lines without an answer that are to be tried again.
    retry: Vec<usize>,
    /// How many of them are put right at a time.
    step: usize,
    /// The new results of those of them that were.
    retried: BTreeMap<usize, ResultRow>,
    /// Rows without an answer that will not be tried again.
    pub(crate) failed: usize,
}

impl Journal {
    /// An empty file where there is none.
    pub(crate) fn create(path: &Path) -> Result<Self, BatchError> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path);
        Self::locked(path, file)
    }

    /// The results that are there. A line that was cut off is taken away, and its row left to be
    /// answered again, as are rows that had no answer.
    pub(crate) fn open(path: &Path, rows: &[Row]) -> Result<Self, BatchError> {
        let file = OpenOptions::new().read(true).write(true).open(path);
        let mut journal = Self::locked(path, file)?;
        let mut reader = BufReader::new(&journal.file);
        let (mut line, mut whole) = (Vec::new(), 0);
        let (mut lines, mut retry) = (0, Vec::new());
        while reader.read_until(b'\n', &mut line).map_err(|source| write_error(path, source))? > 0 {
            if !line.ends_with(b"\n") {
                break;
            }
            let result = serde_json::from_slice::<ResultRow>(&line).ok();
            let damaged = || BatchError::Damaged { path: path.to_owned(), line: lines + 1 };
            let row = rows.get(lines).ok_or_else(damaged)?;
            let result = result.filter(|result| result.id == row.id).ok_or_else(damaged)?;
            if result.error.is_some() {
                retry.push(lines);
            }
            lines += 1;
            whole += line.len() as u64;
            line.clear();
        }
        let end = journal.file.set_len(whole);
        end.and_then(|()| journal.file.seek(SeekFrom::Start(whole)))
            .map_err(|source| write_error(path, source))?;
        journal.step = retry.len().div_ceil(STEPS);
        (journal.lines, journal.retry) = (lines, retry);
        Ok(journal)
    }

    fn locked(path: &Path, file: io::Result<File>) -> Result<Self, BatchError> {
        let file = file.map_err(|source| write_error(path, source))?;
        // Some file systems know no locks: there it is up to the user.
        if matches!(file.try_lock(), Err(TryLockError::WouldBlock)) {
            return Err(BatchError::Locked { path: path.to_owned() });
        }
        Ok(Self {
            path: path.to_owned(),
            file,
            replaced: Vec::new(),
            lines: 0,
            retry: Vec::new(),
            step: 0,
            retried: BTreeMap::new(),
            failed: 0,
        })
    }

    /// The places of the rows to be answered: those that had no answer, then those without a line.
    pub(crate) fn open_places(&self, rows: usize) -> Vec<usize> {
        self.retry.iter().copied().chain(self.lines..rows).collect()
    }

    /// Rows that are done with.
    pub(crate) fn done(&self) -> usize {
        self.lines - self.retry.len() + self.retried.len()
    }

    /// Takes the results of the next of these places, in their order, and writes those without a
    /// line in one piece. Lines are put right when a step of them was tried again, or the last.
    pub(crate) fn put(
        &mut self,
        results: impl IntoIterator<Item = (usize, ResultRow)>,
    ) -> Result<(), BatchError> {
        let (mut text, mut lines) = (Vec::new(), 0);
        for (place, result) in results {
            self.failed += usize::from(result.error.is_some());
            if place < self.lines {
                self.retried.insert(place, result);
            } else {
                self.line(&mut text, &result)?;
                lines += 1;
            }
        }
        if self.retried.len() >= self.step.min(self.retry.len()) {
            self.settle()?;
        }
        self.file.write_all(&text).map_err(|source| write_error(&self.path, source))?;
        self.lines += lines;
        Ok(())
    }

    /// Puts the lines right that have been tried again: a new file takes the place of the old one.
    pub(crate) fn settle(&mut self) -> Result<(), BatchError> {
        if self.retried.is_empty() {
            return Ok(());
        }
        let failed = |source| write_error(&self.path, source);
        let file = WholeFile::at(&self.path).map_err(failed)?;
        // Nobody else knows this file yet.
        file.as_file().try_lock().ok();
        let mut writer = BufWriter::new(file);
        for (place, line) in self.read()?.enumerate() {
            let mut text = line.map_err(failed)?.into_bytes();
            text.push(b'\n');
            if let Some(result) = self.retried.get(&place) {
                text.clear();
                self.line(&mut text, result)?;
            }
            writer.write_all(&text).map_err(failed)?;
        }
        let file = writer.into_inner().map_err(|error| failed(error.into_error()))?;
        let file = file.appear().map_err(failed)?;
        self.replaced.push(mem::replace(&mut self.file, file));
        let retried = mem::take(&mut self.retried);
        self.retry.retain(|place| !retried.contains_key(place));
        Ok(())
    }

    /// All results, one by one; nothing can be added after that.
    pub(crate) fn results(
        &self,
    ) -> Result<impl Iterator<Item = Result<ResultRow, BatchError>>, BatchError> {
        let path = self.path.clone();
        Ok(self.read()?.map(move |line| {
            let row = line.and_then(|line| Ok(serde_json::from_str(&line)?));
            row.map_err(|source| write_error(&path, source))
        }))
    }

    fn read(&self) -> Result<impl Iterator<Item = io::Result<String>>, BatchError> {
        // Not a file opened anew: on some systems the lock keeps others from reading, too.
        let start = self.file.try_clone().and_then(|mut file| {
            file.seek(SeekFrom::Start(0))?;
            Ok(file)
        });
        let file = start.map_err(|source| write_error(&self.path, source))?;
        Ok(BufReader::new(file).lines())
    }

    fn line(&self, text: &mut Vec<u8>, result: &ResultRow) -> Result<(), BatchError> {
        serde_json::to_writer(&mut *text, result)
            .map_err(|error| write_error(&self.path, error.into()))?;
        text.push(b'\n');
        Ok(())
    }
}

fn write_error(path: &Path, source: io::Error) -> BatchError {
    BatchError::Write { path: path.to_owned(), source }
}
