//! An index that is open: which pictures it holds, and whether they are this model's.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use paligemma::PaliGemma;

use crate::SearchError;
use crate::shard::{Row, Shard};

/// What files of an index are called, before and after their numbers.
const NAME: (&str, &str) = ("pictures-", ".safetensors");

/// Numbers end below this, so that there is always a next one.
const LAST: u64 = 1 << 40;

/// A folder of pictures as a model saw it, ready to be searched.
pub struct Index<'m> {
    pub(crate) model: &'m PaliGemma,
    /// Where the pictures are.
    pub(crate) folder: PathBuf,
    pub(crate) shards: Vec<Shard>,
    /// The file and the row of each picture, by its path.
    pub(crate) places: Vec<(usize, usize)>,
}

impl<'m> Index<'m> {
    /// Opens the index in the folder `path`.
    ///
    /// # Errors
    /// If there is none, it was made with another model, or one of its files is damaged.
    pub fn open(path: &Path, model: &'m PaliGemma) -> Result<Self, SearchError> {
        let shards = open_shards(path, model)?;
        let first = shards.first().ok_or_else(|| SearchError::NoIndex { path: path.to_owned() })?;
        let folder = PathBuf::from(&first.header.folder);
        let places = latest(&shards).into_values().collect();
        Ok(Self { model, folder, shards, places })
    }

    /// How many pictures it holds.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether it holds no picture.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    pub(crate) fn row(&self, picture: usize) -> &Row {
        let (shard, row) = self.places[picture];
        &self.shards[shard].header.rows[row]
    }
}

/// All files of an index, oldest first; none if there is no index. Files of other names are not
/// its own.
pub(crate) fn open_shards(path: &Path, model: &PaliGemma) -> Result<Vec<Shard>, SearchError> {
    let failed = |source| SearchError::Read { path: path.to_owned(), source };
    if !path.is_dir() {
        return Err(SearchError::NoIndex { path: path.to_owned() });
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        files.extend(number(&path).map(|number| (number, path)));
    }
    files.sort();
    let mut shards = Vec::with_capacity(files.len());
    for (_, path) in files {
        match Shard::open(path) {
            // An update has taken it away since: its pictures are gone, or in newer files.
            Err(SearchError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            shard => shards.push(shard?),
        }
    }
    for shard in &shards {
        if shard.header.model != model.fingerprint() {
            return Err(SearchError::OtherModel { path: shard.path.clone() });
        }
        if shard.shape != shape(model) {
            return Err(shard.damaged("its numbers are not as many as the model makes"));
        }
        if shard.header.folder != shards[0].header.folder {
            return Err(shard.damaged("it is of another folder than the others"));
        }
    }
    Ok(shards)
}

/// Embedding width, image tokens, and their width.
pub(crate) fn shape(model: &PaliGemma) -> [usize; 3] {
    let config = model.config();
    [config.vision.hidden_size, config.vision.num_patches(), config.projection_dim]
}

/// Where each picture is, by its path: the newest file wins.
pub(crate) fn latest(shards: &[Shard]) -> BTreeMap<&str, (usize, usize)> {
    let rows = shards.iter().enumerate().flat_map(|(shard, of)| {
        let rows = of.header.rows.iter().enumerate();
        rows.map(move |(row, is)| (is.file.path.as_str(), (shard, row)))
    });
    rows.collect()
}

/// The number in a file's name.
pub(crate) fn number(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    let number = name.strip_prefix(NAME.0)?.strip_suffix(NAME.1)?.parse().ok()?;
    (number < LAST).then_some(number)
}

/// The file with this number.
pub(crate) fn file(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{}{number:06}{}", NAME.0, NAME.1))
}
