//! A run's folder: what is needed to go on after an interrupt.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

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
}

/// Checkpoints in one folder; the newest complete one is named by `latest`, replaced atomically.
#[derive(Clone, Debug)]
pub struct RunDirectory {
    root: PathBuf,
}

impl RunDirectory {
    /// The folder `root`, created if it is not there.
    ///
    /// # Errors
    /// If it cannot be created.
    pub fn create(root: impl Into<PathBuf>) -> Result<Self, RunError> {
        let root = root.into();
        fs::create_dir_all(&root).map_err(file("create", &root))?;
        Ok(Self { root })
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Writes a checkpoint: `write` fills a new folder, which becomes the latest only when it is
    /// complete; the one before is then removed.
    ///
    /// # Errors
    /// What `write` returns, or [`RunError::File`].
    pub fn save<E: From<RunError>>(
        &self,
        progress: &Progress,
        write: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<(), E> {
        let before = self.latest_path()?;
        let folder = self.root.join(format!("step-{:07}", progress.total));
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(file("remove", &folder))?;
        }
        fs::create_dir_all(&folder).map_err(file("create", &folder))?;
        write(&folder)?;
        let path = folder.join("progress.json");
        let text = serde_json::to_vec_pretty(progress)
            .map_err(|source| RunError::Progress { path: path.clone(), source })?;
        fs::write(&path, text).map_err(file("write", &path))?;
        self.name_latest(&folder)?;
        if let Some(before) = before.filter(|before| *before != folder) {
            fs::remove_dir_all(&before).map_err(file("remove", &before))?;
        }
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
        let pointer = self.root.join("latest");
        match fs::read_to_string(&pointer) {
            Ok(name) => Ok(Some(self.root.join(name.trim()))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(file("read", &pointer)(error)),
        }
    }

    fn name_latest(&self, folder: &Path) -> Result<(), RunError> {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (new, pointer) = (self.root.join("latest.new"), self.root.join("latest"));
        fs::write(&new, name).map_err(file("write", &new))?;
        fs::rename(&new, &pointer).map_err(file("replace", &pointer))
    }
}

pub(crate) fn file<'a>(
    action: &'static str,
    path: &'a Path,
) -> impl Fn(std::io::Error) -> RunError + 'a {
    move |source| RunError::File { action, path: path.to_owned(), source }
}
