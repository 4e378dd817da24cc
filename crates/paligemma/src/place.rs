//! `Place`: where a model's files are, by the name that a user gives it.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use paligemma_checkpoint::{
    ADAPTER_CONFIG, AdapterConfig, AdapterError, AdapterFile, Checkpoint, ColPaliConfig,
    ConfigError, PaliGemmaConfig, PositionFilter, SourceError, other_files, settings_at_resolution,
};
use paligemma_processor::{Tokenizer, TokenizerError};

use crate::{DeviceSpec, Error, MaskModel, pocket};

/// The name of the embedded model, which no folder needs to have.
pub const EMBEDDED: &str = "embedded";
/// The file of a run's folder that names the newest of the folders in it.
const LATEST: &str = "latest";
const CONFIG: &str = "config.json";
/// The file of a run's folder that says what was asked.
const RUN: &str = "run.json";

/// Where a model's files are.
#[derive(Debug)]
pub enum Place {
    /// In this program.
    Embedded,
    /// In a folder.
    Folder(PathBuf),
    /// In the place of a base, with an adapter added.
    Adapted {
        /// The model that is added to, which has no adapter itself.
        base: Box<Place>,
        /// What is added.
        adapter: AdapterFile,
    },
    /// Another place's model, for pictures of another size.
    Resized {
        /// Where the model is.
        of: Box<Place>,
        /// Its configuration at that size.
        config: Box<PaliGemmaConfig>,
        /// How its positions are resampled.
        filter: PositionFilter,
    },
}

/// Gives the folder of a model that was named by none, such as a hub id, in a version of it.
pub type Fetch<'a> = dyn FnMut(&str, Option<&str>) -> Result<PathBuf, Error> + 'a;

/// What a checkpoint is of.
#[derive(Clone, Debug, PartialEq)]
pub enum Architecture {
    /// A PaliGemma.
    PaliGemma(PaliGemmaConfig),
    /// A PaliGemma with the head of a ColPali.
    ColPali(ColPaliConfig),
}

impl Architecture {
    /// The configuration of the PaliGemma.
    pub fn vlm(&self) -> &PaliGemmaConfig {
        match self {
            Self::PaliGemma(config) => config,
            Self::ColPali(config) => &config.vlm,
        }
    }
}

impl Place {
    /// Finds the model `name`: [`EMBEDDED`]; a folder with a checkpoint; a folder with an adapter
    /// of PEFT, whose base is the model `base` or the one that the adapter names; or the folder of
    /// a run, where the file `latest` names a folder of either kind.
    ///
    /// `fetch` gives the folder of what is none of these, such as a hub id, in the version `revision`
    /// or in that of its base which an adapter names.
    ///
    /// # Errors
    /// If there is no such model, the adapter or its base cannot be used, or there is a `base` and
    /// no adapter.
    pub fn locate(
        name: &str,
        revision: Option<&str>,
        base: Option<&str>,
        fetch: &mut Fetch<'_>,
    ) -> Result<Self, Error> {
        match folder_of(name, revision, fetch)? {
            Some(folder) => Self::in_folder(folder, base, fetch),
            None if base.is_none() => Ok(Self::Embedded),
            None => Err(Error::NoAdapter { model: name.to_owned() }),
        }
    }

    /// The model in a folder, as [`Place::locate`] finds it.
    ///
    /// # Errors
    /// As for [`Place::locate`].
    pub fn in_folder(
        folder: PathBuf,
        base: Option<&str>,
        fetch: &mut Fetch<'_>,
    ) -> Result<Self, Error> {
        let folder = followed(folder)?;
        if !is_adapter(&folder) {
            return match base {
                None => Ok(Self::Folder(folder)),
                Some(_) => Err(Error::NoAdapter { model: folder.display().to_string() }),
            };
        }
        let adapter = AdapterFile::open(folder)?;
        let AdapterConfig { base: own, revision, .. } = adapter.config();
        let (asked, revision) = match (base, own) {
            (Some(base), _) => (base, None),
            (None, Some(own)) => (own.as_str(), revision.as_deref()),
            (None, None) => return Err(Error::NoBase { adapter: adapter.folder().to_owned() }),
        };
        let refused = |cause: String| Error::AdapterBase {
            adapter: adapter.folder().to_owned(),
            base: asked.to_owned(),
            cause,
        };
        let base = match folder_of(asked, revision, fetch) {
            Ok(None) => Self::Embedded,
            Ok(Some(folder)) => match followed(folder) {
                Ok(folder) if is_adapter(&folder) => {
                    return Err(refused("it is an adapter itself".to_owned()));
                }
                Ok(folder) => Self::Folder(folder),
                Err(error) => return Err(refused(error.to_string())),
            },
            Err(error) => return Err(refused(error.to_string())),
        };
        Ok(Self::Adapted { base: Box::new(base), adapter })
    }

    /// The same model for pictures of `image_size` pixels a side: its positions are resampled, and
    /// its configuration and settings say so.
    ///
    /// # Errors
    /// If the configuration cannot be read, or is a ColPali's, or the size is not a multiple of the
    /// patch size.
    pub fn at_resolution(self, image_size: usize, filter: PositionFilter) -> Result<Self, Error> {
        if let Architecture::ColPali(_) = self.architecture()? {
            return Err(Error::ColPaliResolution { model: self.to_string() });
        }
        let config = Box::new(self.config()?.at_resolution(image_size)?);
        Ok(Self::Resized { of: Box::new(self), config, filter })
    }

    /// The adapter, if there is one.
    pub fn adapter(&self) -> Option<&AdapterFile> {
        match self {
            Self::Adapted { adapter, .. } => Some(adapter),
            Self::Embedded | Self::Folder(_) => None,
            Self::Resized { of, .. } => of.adapter(),
        }
    }

    /// The model's configuration.
    ///
    /// # Errors
    /// If it cannot be read or used.
    pub fn config(&self) -> Result<PaliGemmaConfig, ConfigError> {
        match self {
            Self::Embedded => PaliGemmaConfig::from_json(pocket::CONFIG),
            Self::Folder(folder) => PaliGemmaConfig::open(folder),
            Self::Adapted { base, .. } => base.config(),
            Self::Resized { config, .. } => Ok((**config).clone()),
        }
    }

    /// The configuration of a ColPali.
    ///
    /// # Errors
    /// If it cannot be read or used, or is none of a ColPali.
    pub fn colpali_config(&self) -> Result<ColPaliConfig, Error> {
        let config = self.read(CONFIG)?;
        let config = config.ok_or_else(|| Error::NoColPali { model: self.to_string() })?;
        let config = ColPaliConfig::from_json(&String::from_utf8_lossy(&config));
        Ok(config.map_err(|source| ConfigError::InFile {
            path: self.to_string().into(),
            source: Box::new(source),
        })?)
    }

    /// What the model is, with its configuration.
    ///
    /// # Errors
    /// As for [`config`](Self::config) and [`colpali_config`](Self::colpali_config).
    pub fn architecture(&self) -> Result<Architecture, Error> {
        if self.read(CONFIG)?.is_some_and(|json| ColPaliConfig::is_of(&json)) {
            return Ok(Architecture::ColPali(self.colpali_config()?));
        }
        Ok(Architecture::PaliGemma(self.config()?))
    }

    /// The model's tokenizer.
    ///
    /// # Errors
    /// If it cannot be read, or is not one of PaliGemma.
    pub fn tokenizer(&self, config: &PaliGemmaConfig) -> Result<Tokenizer, TokenizerError> {
        let image = config.image_token_index;
        match self {
            Self::Embedded => Tokenizer::from_bytes(pocket::TOKENIZER, image),
            Self::Folder(folder) => Tokenizer::from_file(&folder.join("tokenizer.json"), image),
            Self::Adapted { base, .. } => base.tokenizer(config),
            Self::Resized { of, .. } => of.tokenizer(config),
        }
    }

    /// The weights of the model or of the adapter's base, left in their files.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn checkpoint(&self) -> Result<Checkpoint, SourceError> {
        match self {
            Self::Embedded => Checkpoint::from_static(pocket::WEIGHTS),
            Self::Folder(folder) => Checkpoint::open(folder),
            Self::Adapted { base, .. } => base.checkpoint(),
            Self::Resized { of, config, filter } => {
                let side = config.vision.image_size / config.vision.patch_size;
                of.checkpoint()?.with_positions(side, *filter)
            }
        }
    }

    /// What tells the model in these weights of the place from others, with its adapter
    /// ([`Checkpoint::fingerprint`]).
    pub fn fingerprint(&self, checkpoint: &Checkpoint) -> String {
        let base = checkpoint.fingerprint();
        match self.adapter() {
            Some(adapter) => adapter.fingerprint(&base),
            None => base,
        }
    }

    /// The model's mask VQ-VAE alone.
    ///
    /// # Errors
    /// If there is none, or it cannot be used.
    pub fn open_masks(&self, device: DeviceSpec) -> Result<MaskModel, Error> {
        match self {
            Self::Embedded => MaskModel::pocket(device),
            Self::Folder(folder) => MaskModel::load(folder, device),
            Self::Adapted { base, .. } => base.open_masks(device),
            Self::Resized { of, .. } => of.open_masks(device),
        }
    }

    /// A file beside those weights; none if it is not there.
    ///
    /// # Errors
    /// If it is there and cannot be read.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, SourceError> {
        match self {
            Self::Embedded => Ok(None),
            Self::Folder(folder) => match fs::read(folder.join(name)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(source) => Err(SourceError::Read { path: folder.join(name), source }),
                Ok(contents) => Ok(Some(contents)),
            },
            Self::Adapted { base, .. } => base.read(name),
            Self::Resized { of, config, .. } => {
                let contents = of.read(name)?;
                Ok(contents.map(|contents| settings_at_resolution(name, contents, config)))
            }
        }
    }

    /// The files beside those weights, with `config` as one where the folder has none.
    ///
    /// # Errors
    /// If one cannot be read.
    pub fn other_files(
        &self,
        config: &PaliGemmaConfig,
    ) -> Result<Vec<(String, Vec<u8>)>, SourceError> {
        match self {
            Self::Embedded => Ok(vec![
                (CONFIG.to_owned(), pocket::CONFIG.as_bytes().to_vec()),
                ("tokenizer.json".to_owned(), pocket::TOKENIZER.to_vec()),
                ("masks.safetensors".to_owned(), pocket::MASKS.to_vec()),
            ]),
            Self::Folder(folder) => {
                let mut files = other_files(folder)?;
                if files.iter().all(|(name, _)| name != CONFIG) {
                    files.push((CONFIG.to_owned(), config.to_json().into_bytes()));
                }
                Ok(files)
            }
            Self::Adapted { base, .. } => base.other_files(config),
            Self::Resized { of, .. } => {
                let files = of.other_files(config)?.into_iter();
                let resized = |(name, contents): (String, _)| {
                    let contents = settings_at_resolution(&name, contents, config);
                    (name, contents)
                };
                Ok(files.map(resized).collect())
            }
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Embedded => f.write_str(EMBEDDED),
            Self::Folder(folder) => write!(f, "{}", folder.display()),
            Self::Adapted { base, adapter } => {
                write!(f, "{} with the adapter in {}", base, adapter.folder().display())
            }
            Self::Resized { of, config, .. } => {
                write!(f, "{of} at {} pixels", config.vision.image_size)
            }
        }
    }
}

/// The folder of a model; the embedded one has none.
fn folder_of(
    name: &str,
    revision: Option<&str>,
    fetch: &mut Fetch<'_>,
) -> Result<Option<PathBuf>, Error> {
    match name {
        EMBEDDED => Ok(None),
        name if Path::new(name).is_dir() => Ok(Some(name.into())),
        name => fetch(name, revision).map(Some),
    }
}

fn is_adapter(folder: &Path) -> bool {
    folder.join(ADAPTER_CONFIG).is_file()
}

/// The folder that a run's folder names as its newest; another folder itself. Other programs write
/// a file of that name beside a model's own files.
fn followed(folder: PathBuf) -> Result<PathBuf, Error> {
    let pointer = folder.join(LATEST);
    let is_model = folder.join(CONFIG).is_file() || is_adapter(&folder);
    if !is_model && !pointer.is_file() && folder.join(RUN).is_file() {
        return Err(Error::NoCheckpoint { run: folder });
    }
    if is_model || !pointer.is_file() {
        return Ok(folder);
    }
    let unread = |source| AdapterError::Read { path: pointer.clone(), source };
    let name = fs::read_to_string(&pointer).map_err(unread)?;
    let name = Path::new(name.trim());
    // A name with separators could lead to any folder of the machine.
    let mut parts = name.components();
    let plain = matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None));
    let newest = folder.join(name);
    if plain && newest.is_dir() {
        Ok(newest)
    } else {
        Err(Error::Latest { pointer, name: name.to_owned() })
    }
}
