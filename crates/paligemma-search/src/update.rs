//! Brings an index up to date with its folder: new and changed pictures in, those gone out.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use paligemma::image::RgbImage;
use paligemma::tasks::caption_prompt;
use paligemma::{Options, PaliGemma, Request};
use paligemma_processor::{PictureError, open_picture, resize};

use crate::lock::WriteLock;
use crate::shard::{self, Entry, FileState, Header, Row, Shard};
use crate::{SearchError, index, walk};

/// Pictures that are encoded together and kept in one file.
const AT_ONCE: usize = 16;

/// The longest caption, in tokens.
const CAPTION: usize = 64;

/// How far an update is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Pictures that were dealt with.
    pub done: usize,
    /// New and changed pictures.
    pub total: usize,
}

/// What an update did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Pictures that were read, new or changed.
    pub added: usize,
    /// Pictures that were as the index knew them.
    pub unchanged: usize,
    /// Pictures that were taken out, since their files are gone, or changed to what cannot be read.
    pub removed: usize,
    /// Pictures and folders that cannot be read; the next update tries again.
    pub failed: Vec<Failed>,
}

/// A picture that cannot be kept, or a folder that cannot be listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// Where it is.
    pub path: PathBuf,
    /// What is wrong with it.
    pub error: String,
}

/// Reads what is new or changed below the folder `pictures` into the index in the folder `out`, made if
/// need be and locked meanwhile, and takes out what is gone. A picture is known again by its path, size
/// and time of change. What cannot be looked at, such as all in a folder that cannot be listed, stays as
/// it is. After an interruption, the next update goes on where this one was.
///
/// # Errors
/// If a folder cannot be read or written, there is no picture for a new index, another process writes the
/// index, it is another model's or another folder's or is damaged, or the model's numbers are not finite.
/// A picture that cannot be read is reported.
pub fn update(
    model: &PaliGemma,
    pictures: &Path,
    out: &Path,
    mut progress: impl FnMut(Progress),
) -> Result<Report, SearchError> {
    let read = |source| SearchError::Read { path: pictures.to_owned(), source };
    let folder = pictures.canonicalize().map_err(read)?;
    folder.read_dir().map_err(read)?;
    let name = folder.to_str().ok_or_else(|| SearchError::FolderName { path: folder.clone() })?;
    let is_new = fs::read_dir(out).map_or(true, |mut files| files.next().is_none());
    if is_new && walk::pictures(&folder)? == (Vec::new(), Vec::new()) {
        return Err(SearchError::NoPictures { path: folder });
    }
    let write = |source| SearchError::Write { path: out.to_owned(), source };
    fs::create_dir_all(out).map_err(write)?;
    let _lock = WriteLock::take(out)?;
    let kept = index::open_shards(out, model)?;
    if let Some(other) = kept.iter().find(|shard| shard.header.folder != name) {
        let kept = PathBuf::from(&other.header.folder);
        return Err(SearchError::OtherFolder { kept, asked: folder });
    }

    let (found, failed) = walk::pictures(&folder)?;
    // A link to what is gone is gone itself.
    let is_gone =
        |path: &Path| path.metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    let unseen = failed.iter().map(|failed| failed.path.clone());
    let unseen: Vec<PathBuf> = unseen.filter(|path| !is_gone(path)).collect();
    let (fresh, known): (Vec<FileState>, _) = {
        let latest = index::latest(&kept);
        let is_known = |file: &FileState| {
            let place = latest.get(file.path.as_str());
            place.is_some_and(|&(shard, row)| kept[shard].header.rows[row].file == *file)
        };
        found.iter().cloned().partition(|file| !is_known(file))
    };
    let mut report = Report { unchanged: known.len(), failed, ..Report::default() };
    let first = kept.iter().filter_map(|shard| index::number(&shard.path)).max().unwrap_or(0) + 1;
    drop(kept);
    let reader = Reader { model, folder: &folder };
    let header = Header::new(model.fingerprint(), name);
    let mut done = 0;
    for (number, files) in (first..).zip(fresh.chunks(AT_ONCE)) {
        let entries = reader.read(files, &mut report.failed)?;
        report.added += entries.len();
        if !entries.is_empty() {
            shard::write(&index::file(out, number), &header, &entries, index::shape(model))?;
        }
        done += files.len();
        progress(Progress { done, total: fresh.len() });
    }
    report.removed = sweep(out, model, &Walked::new(&folder, &found, &unseen))?;
    Ok(report)
}

/// Reads pictures for a model.
struct Reader<'a> {
    model: &'a PaliGemma,
    folder: &'a Path,
}

impl Reader<'_> {
    /// Reads, encodes and captions pictures; those that cannot be read go to `failed`.
    fn read(
        &self,
        files: &[FileState],
        failed: &mut Vec<Failed>,
    ) -> Result<Vec<Entry>, SearchError> {
        // Pictures are squashed at once: only the model's few pixels of each are held.
        let side = self.model.config().vision.image_size;
        let mut readable: Vec<(&FileState, (u32, u32))> = Vec::new();
        let mut pictures: Vec<RgbImage> = Vec::new();
        for file in files {
            let path = walk::path(self.folder, &file.path);
            match open_picture(&path) {
                Ok(picture) => {
                    readable.push((file, picture.dimensions()));
                    pictures.push(resize(&picture, side));
                }
                Err(error) => failed.push(Failed { path, error: reason(error) }),
            }
        }
        if pictures.is_empty() {
            return Ok(Vec::new());
        }
        let encoded = self.model.encode_each(&pictures)?;
        let options = Options { max_new_tokens: CAPTION, ..Options::default() };
        let request =
            |scene| Request { scene, prompt: caption_prompt("en"), options, constraint: None };
        let requests: Vec<Request> =
            encoded.iter().map(|picture| request(picture.scene.clone())).collect();
        let answers = self.model.batch(&requests)?;
        let mut entries = Vec::with_capacity(files.len());
        for (((file, size), picture), answer) in readable.into_iter().zip(encoded).zip(answers) {
            let row = Row { file: file.clone(), size, caption: plain(&answer.text) };
            let path = walk::path(self.folder, &row.file.path);
            let features: Vec<f32> = picture.scene.features().iter::<f32>().collect();
            if let Some(entry) = Entry::new(row, &picture.embedding, &features) {
                entries.push(entry);
            } else {
                let error = "its features are beyond the range of f16".to_owned();
                failed.push(Failed { path, error });
            }
        }
        Ok(entries)
    }
}

/// What is wrong with a picture, whose name stands beside it.
fn reason(error: PictureError) -> String {
    match error {
        PictureError::File { source, .. } => source.to_string(),
        PictureError::Read { source, .. } => source.to_string(),
        other => other.to_string(),
    }
}

/// One line without control characters.
fn plain(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").replace(char::is_control, "")
}

/// What a walk saw of a folder, and where it could not look.
struct Walked<'a> {
    folder: &'a Path,
    /// Pictures by their paths in the folder.
    found: HashMap<&'a str, &'a FileState>,
    /// Files and folders of which nothing is known.
    unseen: &'a [PathBuf],
}

impl<'a> Walked<'a> {
    fn new(folder: &'a Path, found: &'a [FileState], unseen: &'a [PathBuf]) -> Self {
        let found = found.iter().map(|file| (file.path.as_str(), file)).collect();
        Self { folder, found, unseen }
    }

    /// Whether a file is as it was, or may be: where nothing was seen, nothing is gone.
    fn may_have(&self, file: &FileState) -> bool {
        if let Some(found) = self.found.get(file.path.as_str()) {
            return *found == file;
        }
        let path = walk::path(self.folder, &file.path);
        self.unseen.iter().any(|unseen| path.starts_with(unseen))
    }
}

/// Takes out the rows that newer ones replace, and those whose files are not as they were; gives
/// the number of pictures that are no longer in the index.
fn sweep(out: &Path, model: &PaliGemma, walked: &Walked<'_>) -> Result<usize, SearchError> {
    let shards = index::open_shards(out, model)?;
    let latest = index::latest(&shards);
    let lives = |shard: usize, row: usize| {
        let file = &shards[shard].header.rows[row].file;
        latest.get(file.path.as_str()) == Some(&(shard, row)) && walked.may_have(file)
    };
    for (number, shard) in shards.iter().enumerate() {
        let rows = 0..shard.header.rows.len();
        let living: Vec<usize> = rows.clone().filter(|&row| lives(number, row)).collect();
        if living.len() < rows.len() {
            rewrite(shard, &living)?;
        }
    }
    Ok(latest.values().filter(|&&(shard, row)| !lives(shard, row)).count())
}

/// Keeps only some rows of a file.
fn rewrite(shard: &Shard, rows: &[usize]) -> Result<(), SearchError> {
    if rows.is_empty() {
        let failed = |source| SearchError::Write { path: shard.path.clone(), source };
        return fs::remove_file(&shard.path).map_err(failed);
    }
    let entries: Vec<Entry> = rows.iter().map(|&row| shard.entry(row)).collect();
    shard::write(&shard.path, &shard.header, &entries, shard.shape)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_seen_is_not_gone() {
        let folder = Path::new("album");
        let state = |path: &str| FileState { path: path.to_owned(), bytes: 1, modified: 1 };
        let found = [state("a.png")];
        let unseen = ["locked", "b.png"].map(|name| folder.join(name));
        let walked = Walked::new(folder, &found, &unseen);
        for path in ["a.png", "b.png", "locked/c.png", "locked/deep/d.png"] {
            assert!(walked.may_have(&state(path)), "{path}");
        }
        for path in ["c.png", "locked.png", "other/locked/c.png"] {
            assert!(!walked.may_have(&state(path)), "{path}");
        }
        assert!(!walked.may_have(&FileState { bytes: 2, ..state("a.png") }));
    }
}
