//! A folder of scenes that the embedded model never saw, with its index.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use paligemma::{DeviceSpec, Dtype, PaliGemma};
use paligemma_pocket::{FIRST_HELD_OUT_SEED, Scene, task};
use paligemma_search::{Index, Report, update};
use tempfile::TempDir;

pub(crate) static MODEL: LazyLock<PaliGemma> =
    LazyLock::new(|| PaliGemma::pocket(DeviceSpec::Flex, Dtype::F32).unwrap());

/// A folder of pictures, and a place for its index.
pub(crate) struct Album {
    folder: TempDir,
}

/// The scene of this number, with one thing.
pub(crate) fn scene(number: u64) -> Scene {
    Scene::generate(FIRST_HELD_OUT_SEED + number, 1..=1)
}

/// What is true of the scene.
pub(crate) fn caption(number: u64) -> String {
    task::caption(&scene(number)).suffix
}

/// The number of the scene that a file of the album shows.
pub(crate) fn number(path: &Path) -> u64 {
    path.file_stem().unwrap().to_str().unwrap().parse().unwrap()
}

impl Album {
    pub(crate) fn new(scenes: std::ops::Range<u64>) -> Self {
        let album = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir_all(album.pictures().join("more")).unwrap();
        scenes.for_each(|number| album.add(number));
        album
    }

    pub(crate) fn pictures(&self) -> PathBuf {
        self.folder.path().join("pictures")
    }

    pub(crate) fn out(&self) -> PathBuf {
        self.folder.path().join("index")
    }

    /// Where a scene is: every third in a folder of its own.
    pub(crate) fn path(&self, number: u64) -> PathBuf {
        let folder = if number.is_multiple_of(3) { "more" } else { "." };
        self.pictures().join(folder).join(format!("{number:03}.png"))
    }

    /// Draws a scene into its file.
    pub(crate) fn add(&self, number: u64) {
        scene(number).render().save(self.path(number)).unwrap();
    }

    pub(crate) fn update(&self) -> Report {
        update(&MODEL, &self.pictures(), &self.out(), |_| ()).unwrap()
    }

    pub(crate) fn index(&self) -> Index<'static> {
        Index::open(&self.out(), &MODEL).unwrap()
    }

    /// The files of the index with their contents, hidden ones left out.
    pub(crate) fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let entries = fs::read_dir(self.out()).unwrap();
        let mut files: Vec<_> = entries
            .map(|entry| entry.unwrap().path())
            .filter(|path| !path.file_name().unwrap().to_str().unwrap().starts_with('.'))
            .map(|path| (path.clone(), fs::read(path).unwrap()))
            .collect();
        files.sort();
        files
    }
}
