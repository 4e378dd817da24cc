//! One writer at a time: a file in the index that is locked while the index is written.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::Path;

use paligemma_files::is_unfinished;

use crate::SearchError;

/// The file that is locked; it stays, since a file of this name made anew would be another one.
const NAME: &str = ".lock";

/// The right to write an index, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct WriteLock(#[expect(dead_code, reason = "what is locked is held, not read")] File);

impl WriteLock {
    /// Locks the index in this folder, and takes away what a process left there that was killed:
    /// nobody else is at work.
    pub(crate) fn take(index: &Path) -> Result<Self, SearchError> {
        let failed = |source: io::Error| SearchError::Write { path: index.to_owned(), source };
        let file = File::create(index.join(NAME)).map_err(failed)?;
        // Some file systems know no locks: there it is up to the user.
        if matches!(file.try_lock(), Err(TryLockError::WouldBlock)) {
            return Err(SearchError::Locked { path: index.to_owned() });
        }
        for entry in fs::read_dir(index).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if is_unfinished(&entry.file_name()) {
                fs::remove_file(entry.path()).map_err(failed)?;
            }
        }
        Ok(Self(file))
    }
}
