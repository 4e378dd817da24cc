//! Models by name: a folder, or a hub id whose files are cached and downloaded when missing.
//!
//! The cache has the layout that other tools of the hub use, so a model that one of them fetched
//! is found. A model that is complete in the cache is used as it is, without asking the hub.

use std::path::{Path, PathBuf};

use hf_hub::api::sync::{ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, Repo, RepoType};

use crate::adapter::{ADAPTER_CONFIG, ADAPTER_WEIGHTS, OLDER_WEIGHTS};
use crate::settings::{GENERATION, PREPROCESSOR};
use crate::source::{INDEX, SourceError, WEIGHTS, read_index};

const CONFIG: &str = "config.json";
const TOKENIZER: &str = "tokenizer.json";
const RETRIES: usize = 3;

/// Why a model cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// Not the name of a model.
    #[error("`{model}` is neither a folder nor a hub id like `google/paligemma-3b-mix-224`")]
    NotAModel {
        /// What was asked for.
        model: String,
    },
    /// Not the name of a revision.
    #[error("`{revision}` is not a branch, tag or commit")]
    NotARevision {
        /// What was asked for.
        revision: String,
    },
    /// There is no place for the cache.
    #[error("there is no home folder for the model cache; set HF_HOME")]
    NoHome,
    /// The hub does not show the model to this user.
    #[error(
        "the hub denies access to `{model}` (status {status}); check the id, accept the licence \
        at {endpoint}/{model} and set HF_TOKEN"
    )]
    Denied {
        /// The model's id.
        model: String,
        /// The hub.
        endpoint: String,
        /// The HTTP status.
        status: u16,
    },
    /// The hub has no such file.
    #[error("the hub has no {file} of `{model}` at `{revision}`; check the id and the revision")]
    NotFound {
        /// The model's id.
        model: String,
        /// The branch, tag or commit.
        revision: String,
        /// The file.
        file: String,
    },
    /// The hub does not answer.
    #[error(
        "cannot reach {endpoint} for `{model}`, which is not complete in {}: {source}",
        cache.display()
    )]
    Unreachable {
        /// The model's id.
        model: String,
        /// The hub.
        endpoint: String,
        /// Where the model was looked for.
        cache: PathBuf,
        /// What happened.
        source: Box<ureq::Error>,
    },
    /// A download did not succeed; what has arrived is kept, and the next attempt goes on there.
    #[error("cannot download {file} of `{model}`: {source}")]
    Download {
        /// The model's id.
        model: String,
        /// The file.
        file: String,
        /// What happened.
        source: Box<ApiError>,
    },
    /// The downloaded index of shards cannot be used.
    #[error(transparent)]
    Index(#[from] SourceError),
    /// The hub changed the model while it was downloaded.
    #[error("the files of `{model}` changed during the download; try again")]
    Changed {
        /// The model's id.
        model: String,
    },
}

/// How far the download of a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The file's name.
    pub file: &'a str,
    /// Bytes that have arrived.
    pub done: usize,
    /// Bytes of the whole file.
    pub total: usize,
}

/// A hub and the folder that caches its files.
#[derive(Clone, Debug)]
pub struct Hub {
    /// The address of the hub, without a slash at its end.
    pub endpoint: String,
    /// The folder of models.
    pub cache: PathBuf,
    /// The token of the user, for models that are not shown to everybody.
    pub token: Option<String>,
}

/// The folder of `model`, which is a folder itself or an id of the hub that the environment
/// names ([`Hub::from_env`]).
///
/// # Errors
///
/// As [`Hub::resolve`], and if there is no folder for a cache.
pub fn resolve(
    model: &str,
    revision: Option<&str>,
    progress: impl FnMut(Progress<'_>),
) -> Result<PathBuf, HubError> {
    Hub::from_env()?.resolve(model, revision, progress)
}

impl Hub {
    /// The hub, cache and token that the environment names, or the usual ones: `HF_ENDPOINT`,
    /// `HF_HUB_CACHE` or the folder `hub` in `HF_HOME`, `HF_TOKEN` or the file `token` in `HF_HOME`.
    /// `HF_HOME` is `huggingface` in `XDG_CACHE_HOME` or in `~/.cache` where it is not set
    /// (`huggingface_hub/constants.py`).
    ///
    /// # Errors
    ///
    /// If no variable and no home folder say where the cache is.
    pub fn from_env() -> Result<Self, HubError> {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let caches = || match variable("XDG_CACHE_HOME") {
            Some(caches) => Some(PathBuf::from(caches)),
            None => Some(std::env::home_dir()?.join(".cache")),
        };
        let named = variable("HF_HOME").map(PathBuf::from);
        let home = named.or_else(|| Some(caches()?.join("huggingface"))).ok_or(HubError::NoHome)?;
        let endpoint = variable("HF_ENDPOINT").unwrap_or("https://huggingface.co".to_owned());
        let endpoint = endpoint.trim_end_matches('/').to_owned();
        let cache = variable("HF_HUB_CACHE").map_or_else(|| home.join("hub"), PathBuf::from);
        let kept = || std::fs::read_to_string(home.join("token")).ok();
        let token = variable("HF_TOKEN").or_else(kept).map(|token| token.trim().to_owned());
        Ok(Self { endpoint, cache, token: token.filter(|token| !token.is_empty()) })
    }

    /// The folder of `model`: itself if it is a folder, or the cached files of the hub id
    /// `owner/name` at `revision` (`main` if none), downloaded where they are missing.
    ///
    /// # Errors
    ///
    /// If `model` is neither, or its files are not all cached and cannot be downloaded.
    pub fn resolve(
        &self,
        model: &str,
        revision: Option<&str>,
        mut progress: impl FnMut(Progress<'_>),
    ) -> Result<PathBuf, HubError> {
        if Path::new(model).is_dir() {
            return Ok(model.into());
        }
        if !is_id(model) {
            return Err(HubError::NotAModel { model: model.to_owned() });
        }
        let revision = revision.unwrap_or("main");
        if !is_revision(revision) {
            return Err(HubError::NotARevision { revision: revision.to_owned() });
        }
        match self.cached(model, revision) {
            Some(folder) if is_complete(&folder) => Ok(folder),
            found => Download { hub: self, model, progress: &mut progress }.run(revision, found),
        }
    }

    /// The folder of the commit that `revision` stood for when it was last fetched.
    fn cached(&self, model: &str, revision: &str) -> Option<PathBuf> {
        let repo = Cache::new(self.cache.clone()).repo(repo(model, revision));
        // Other tools keep no reference for a commit, only its folder.
        let commit = repo.pointer_path(revision);
        [CONFIG, ADAPTER_CONFIG].into_iter().find_map(|file| {
            let branch = repo.get(file).and_then(|file| file.parent().map(Path::to_owned));
            branch.or_else(|| commit.join(file).exists().then(|| commit.clone()))
        })
    }
}

/// The download of one model.
struct Download<'a> {
    hub: &'a Hub,
    model: &'a str,
    progress: &'a mut dyn FnMut(Progress<'_>),
}

impl Download<'_> {
    fn run(&mut self, revision: &str, found: Option<PathBuf>) -> Result<PathBuf, HubError> {
        let builder = ApiBuilder::from_cache(Cache::new(self.hub.cache.clone()))
            .with_endpoint(self.hub.endpoint.clone())
            .with_token(self.hub.token.clone())
            .with_progress(false)
            .with_retries(RETRIES);
        let api = builder.build().map_err(|error| self.error(error, revision, CONFIG))?;

        let folder = match found {
            Some(folder) => folder,
            None => self.first(&api.repo(repo(self.model, revision)), revision)?,
        };
        // Everything else from the same commit, although the branch may move on meanwhile.
        let commit = folder.file_name().map_or(revision.into(), |name| name.to_string_lossy());
        let repo = api.repo(repo(self.model, &commit));
        let mut fetch = |file: &str| match folder.join(file) {
            path if path.exists() => Ok(path),
            _ => self.fetch(&repo, &commit, file),
        };
        if unless_absent(fetch(ADAPTER_CONFIG))?.is_some() {
            if unless_absent(fetch(ADAPTER_WEIGHTS))?.is_none() {
                fetch(OLDER_WEIGHTS)?;
            }
        } else {
            fetch(TOKENIZER)?;
            unless_absent(fetch(PREPROCESSOR))?;
            unless_absent(fetch(GENERATION))?;
            if unless_absent(fetch(WEIGHTS))?.is_none() {
                for shard in shards(&fetch(INDEX)?)? {
                    fetch(&shard)?;
                }
            }
        }
        if is_complete(&folder) {
            Ok(folder)
        } else {
            Err(HubError::Changed { model: self.model.to_owned() })
        }
    }

    /// The folder of the commit, with the configuration of a model or of an adapter in it.
    fn first(&mut self, repo: &ApiRepo, revision: &str) -> Result<PathBuf, HubError> {
        let config = match self.fetch(repo, revision, CONFIG) {
            Err(absent @ HubError::NotFound { .. }) => {
                unless_absent(self.fetch(repo, revision, ADAPTER_CONFIG))?.ok_or(absent)?
            }
            fetched => fetched?,
        };
        Ok(config.parent().unwrap_or(Path::new(".")).to_owned())
    }

    fn fetch(&mut self, repo: &ApiRepo, revision: &str, file: &str) -> Result<PathBuf, HubError> {
        let observer = Observer { file, done: 0, total: 0, progress: self.progress };
        let downloaded = repo.download_with_progress(file, observer);
        downloaded.map_err(|error| self.error(error, revision, file))
    }

    fn error(&self, error: ApiError, revision: &str, file: &str) -> HubError {
        let (model, file) = (self.model.to_owned(), file.to_owned());
        let endpoint = self.hub.endpoint.clone();
        match error {
            ApiError::TooManyRetries(last) => self.error(*last, revision, &file),
            ApiError::RequestError(error) => match *error {
                ureq::Error::StatusCode(status @ (401 | 403)) => {
                    HubError::Denied { model, endpoint, status }
                }
                ureq::Error::StatusCode(404) => {
                    HubError::NotFound { model, revision: revision.to_owned(), file }
                }
                ureq::Error::StatusCode(_) => {
                    HubError::Download { model, file, source: Box::new(error.into()) }
                }
                _ => {
                    let cache = self.hub.cache.clone();
                    HubError::Unreachable { model, endpoint, cache, source: error }
                }
            },
            error => HubError::Download { model, file, source: Box::new(error) },
        }
    }
}

/// Hands the bytes that arrive to the caller.
struct Observer<'a> {
    file: &'a str,
    done: usize,
    total: usize,
    progress: &'a mut dyn FnMut(Progress<'_>),
}

impl hf_hub::api::Progress for Observer<'_> {
    fn init(&mut self, size: usize, _file: &str) {
        (self.done, self.total) = (0, size);
    }

    fn update(&mut self, size: usize) {
        self.done += size;
        (self.progress)(Progress { file: self.file, done: self.done, total: self.total });
    }

    fn finish(&mut self) {}
}

fn repo(model: &str, revision: &str) -> Repo {
    Repo::with_revision(model.to_owned(), RepoType::Model, revision.to_owned())
}

fn unless_absent(fetched: Result<PathBuf, HubError>) -> Result<Option<PathBuf>, HubError> {
    match fetched {
        Err(HubError::NotFound { .. }) => Ok(None),
        fetched => fetched.map(Some),
    }
}

fn shards(index: &Path) -> Result<Vec<String>, SourceError> {
    let mut shards: Vec<_> = read_index(index)?.into_values().collect();
    shards.sort();
    shards.dedup();
    Ok(shards)
}

fn is_complete(folder: &Path) -> bool {
    let has = |file: &str| folder.join(file).exists();
    let has_shards =
        || shards(&folder.join(INDEX)).is_ok_and(|shards| shards.iter().all(|shard| has(shard)));
    if has(ADAPTER_CONFIG) {
        return has(ADAPTER_WEIGHTS) || has(OLDER_WEIGHTS);
    }
    has(CONFIG) && has(TOKENIZER) && (has(WEIGHTS) || has_shards())
}

/// `owner/name`. Both become parts of paths, so nothing else is let through.
fn is_id(model: &str) -> bool {
    model.split('/').count() == 2 && model.split('/').all(is_plain)
}

/// A branch, tag or commit; branches may have parts (`refs/pr/1`).
fn is_revision(revision: &str) -> bool {
    revision.split('/').all(is_plain)
}

fn is_plain(part: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !part.is_empty() && !part.starts_with('.') && !part.contains("..") && part.chars().all(plain)
}
