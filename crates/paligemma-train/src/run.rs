//! A run's folder: what is needed to go on after an interrupt.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The file that names the newest complete checkpoint.
const LATEST: &str = "latest";
/// What the names of checkpoints begin with, before the steps done.
const CHECKPOINT: &str = "step-";
/// The file that is locked; it stays, since a file of this name made anew would be another one.
const LOCK: &str = ".lock";

/// How far a run has come.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// The stage of the curriculum, from 0.
    pub stage: usize,
    /// Steps done in this stage.
    pub step: usize,
    /// Steps done in all.
    pub total: usize,
    /// Seconds spent in all.
    pub seconds: f64,
    /// What tells the examples from others, if they were given ([`crate::Examples::fingerprint`]).
    #[serde(default)]
    pub examples: Option<String>,
}

/// Why a run's folder could not be written or read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RunError {
    /// A file operation failed.
    #[error("{action} {path}: {source}")]
    File {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The progress file does not parse.
    #[error("{path} is not the progress of a run: {source}; delete the folder to begin anew")]
    Progress {
        /// The file.
        path: PathBuf,
        /// Where it fails.
        source: serde_json::Error,
    },
    /// The newest checkpoint is named as none is.
    #[error("{path} names `{name}`, which is no folder beside it")]
    Latest {
        /// The file `latest`.
        path: PathBuf,
        /// What it names.
        name: PathBuf,
    },
    /// Another process writes into the folder.
    #[error(
        "the run in {path} is being trained by another process: wait until it is done, or name \
         another folder"
    )]
    Locked {
        /// The folder.
        path: PathBuf,
    },
}

/// Checkpoints in one folder; the newest complete one is named by `latest`, replaced atomically.
///
/// One process writes at a time: this value and its clones are one writer, from
/// [`lock`](Self::lock) or the first [`save`](Self::save) on.
#[derive(Clone, Debug)]
pub struct RunDirectory {
    root: PathBuf,
    /// The file that keeps others away.
    locked: Arc<Mutex<Option<File>>>,
}

impl RunDirectory {
    /// The folder `root`, created if it is not there.
    ///
    /// # Errors
    /// If it cannot be created.
    pub fn create(root: impl Into<PathBuf>) -> Result<Self, RunError> {
        let root = root.into();
        fs::create_dir_all(&root).map_err(file("create", &root))?;
        Ok(Self { root, locked: Arc::default() })
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Keeps other processes from writing into the folder while this value or a clone of it lives.
    /// Reading takes no lock.
    ///
    /// # Errors
    /// If another process writes there, or the file that is locked cannot be made.
    pub fn lock(&self) -> Result<(), RunError> {
        let mut locked = self.locked.lock().unwrap_or_else(PoisonError::into_inner);
        if locked.is_some() {
            return Ok(());
        }
        let path = self.root.join(LOCK);
        let opened = File::create(&path).map_err(file("create", &path))?;
        // Some file systems know no locks: there it is up to the user.
        if matches!(opened.try_lock(), Err(TryLockError::WouldBlock)) {
            return Err(RunError::Locked { path: self.root.clone() });
        }
        *locked = Some(opened);
        Ok(())
    }

    /// Writes a checkpoint: `write` fills a new folder, which becomes the latest only when all of
    /// it is on the disk; all others are then removed, those that killed runs left among them.
    ///
    /// # Errors
    /// What `write` returns, or a [`RunError`].
    pub fn save<E: From<RunError>>(
        &self,
        progress: &Progress,
        write: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<(), E> {
        self.lock()?;
        let folder = self.root.join(format!("{CHECKPOINT}{:07}", progress.total));
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(file("remove", &folder))?;
        }
        fs::create_dir_all(&folder).map_err(file("create", &folder))?;
        write(&folder)?;
        let path = folder.join("progress.json");
        let text = serde_json::to_vec_pretty(progress)
            .map_err(|source| RunError::Progress { path: path.clone(), source })?;
        fs::write(&path, text).map_err(file("write", &path))?;
        sync(&folder)?;
        self.name_latest(&folder)?;
        self.remove_others(&folder);
        Ok(())
    }

    /// The latest complete checkpoint: its folder and progress.
    ///
    /// # Errors
    /// If it is named but cannot be read.
    pub fn latest(&self) -> Result<Option<(PathBuf, Progress)>, RunError> {
        let Some(folder) = self.latest_path()? else { return Ok(None) };
        let path = folder.join("progress.json");
        let text = fs::read(&path).map_err(file("read", &path))?;
        let progress =
            serde_json::from_slice(&text).map_err(|source| RunError::Progress { path, source })?;
        Ok(Some((folder, progress)))
    }

    fn latest_path(&self) -> Result<Option<PathBuf>, RunError> {
        let path = self.root.join(LATEST);
        let name = match fs::read_to_string(&path) {
            Ok(name) => PathBuf::from(name.trim()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(file("read", &path)(error)),
        };
        if is_plain(&name) {
            Ok(Some(self.root.join(name)))
        } else {
            Err(RunError::Latest { path, name })
        }
    }

    fn name_latest(&self, folder: &Path) -> Result<(), RunError> {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let pointer = self.root.join(LATEST);
        paligemma_files::write(&pointer, name.as_bytes()).map_err(file("write", &pointer))
    }

    /// Removes all checkpoints but the newest. The run goes on without it: what cannot be removed
    /// now is tried again with the next checkpoint.
    fn remove_others(&self, newest: &Path) {
        let Ok(entries) = fs::read_dir(&self.root) else { return };
        for entry in entries.flatten() {
            if is_checkpoint(&entry.file_name()) && entry.path() != newest {
                fs::remove_dir_all(entry.path()).ok();
            }
        }
    }
}

/// Whether a name is one of something in the same folder: a name with separators could lead to any
/// folder of the machine.
fn is_plain(name: &Path) -> bool {
    let mut parts = name.components();
    matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None))
}

/// Whether a folder of this name is a checkpoint.
fn is_checkpoint(name: &OsStr) -> bool {
    let steps = name.to_str().and_then(|name| name.strip_prefix(CHECKPOINT)).unwrap_or_default();
    !steps.is_empty() && steps.bytes().all(|byte| byte.is_ascii_digit())
}

/// Waits until all files of a folder are on the disk.
fn sync(folder: &Path) -> Result<(), RunError> {
    for entry in fs::read_dir(folder).map_err(file("read", folder))? {
        let path = entry.map_err(file("read", folder))?.path();
        if path.is_file() {
            // Windows syncs for those alone who may write.
            let opened = OpenOptions::new().write(true).open(&path);
            opened.and_then(|opened| opened.sync_all()).map_err(file("sync", &path))?;
        }
    }
    // Their names too, where a folder can be synced.
    File::open(folder).and_then(|folder| folder.sync_all()).ok();
    Ok(())
}

pub(crate) fn file<'a>(
    action: &'static str,
    path: &'a Path,
) -> impl Fn(std::io::Error) -> RunError + 'a {
    move |source| RunError::File { action, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn save(run: &RunDirectory, total: usize) -> Result<(), RunError> {
        let progress = Progress { total, ..Progress::default() };
        run.save(&progress, |folder| {
            let path = folder.join("weights");
            fs::write(&path, b"all").map_err(file("write", &path))
        })
    }

    #[test]
    fn one_process_writes_and_all_read() {
        let folder = tempfile::tempdir().unwrap();
        let [run, other] = [(); 2].map(|()| RunDirectory::create(folder.path()).unwrap());
        let worker = run.clone();
        save(&run, 1).unwrap();
        save(&worker, 2).unwrap();
        // As long as one of its clones is there, the run is.
        drop(run);
        let error = save(&other, 3).unwrap_err();
        assert!(matches!(error, RunError::Locked { .. }), "{error}");
        let (newest, progress) = other.latest().unwrap().unwrap();
        assert_eq!(
            (fs::read(newest.join("weights")).unwrap(), progress.total),
            (b"all".to_vec(), 2)
        );
        drop(worker);
        save(&other, 3).unwrap();
    }

    #[test]
    fn a_new_checkpoint_removes_what_killed_runs_left_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["step-0000001", "step-0000009", "step-notes", "notes"] {
            fs::create_dir(folder.path().join(name)).unwrap();
            fs::write(folder.path().join(name).join("text"), b"text").unwrap();
        }
        // What cannot be removed as a folder does not end the run.
        fs::write(folder.path().join("step-0000008"), b"text").unwrap();
        save(&RunDirectory::create(folder.path()).unwrap(), 5).unwrap();
        let entries = fs::read_dir(folder.path()).unwrap();
        let mut left: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(
            left,
            [".lock", "latest", "notes", "step-0000005", "step-0000008", "step-notes"]
        );
    }

    #[test]
    fn the_latest_checkpoint_is_in_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDirectory::create(folder.path()).unwrap();
        assert!(run.latest().unwrap().is_none());
        for name in ["", "..", "../other", "/other", "a/b"] {
            fs::write(folder.path().join("latest"), name).unwrap();
            let error = run.latest().unwrap_err();
            assert!(matches!(error, RunError::Latest { .. }), "{name}: {error}");
        }
    }
}
