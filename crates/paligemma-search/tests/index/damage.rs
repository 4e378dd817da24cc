//! Files that are no index, damaged, hostile, or another model's: a refusal, and never a panic.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use paligemma::{DeviceSpec, Dtype, PaliGemma, pocket};
use paligemma_search::{Index, SearchError, TextSearch, update};
use proptest::prelude::*;

use crate::support::{Album, MODEL, scene};

const TEXT: &str = "a large red circle";

/// A sound file of three pictures.
static SOUND: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let album = Album::new(0..3);
    album.update();
    album.files().swap_remove(0).1
});

/// The end of the header of a file, where the numbers begin.
fn data(file: &[u8]) -> usize {
    let (length, _) = file.split_first_chunk().unwrap();
    8 + usize::try_from(u64::from_le_bytes(*length)).unwrap()
}

/// A file with another header of the same meaning, but for one replacement.
fn replaced(from: &str, to: &str) -> Vec<u8> {
    let start = data(&SOUND);
    let header = String::from_utf8(SOUND[8..start].to_vec()).unwrap();
    assert!(header.contains(from), "{from} is not in {header}");
    let header = header.replacen(from, to, 1);
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &SOUND[start..]].concat()
}

/// An index of one file, opened and asked.
fn opened<T>(
    file: &[u8],
    ask: impl FnOnce(&Index<'_>) -> Result<T, SearchError>,
) -> Result<T, SearchError> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("pictures-000001.safetensors"), file).unwrap();
    let index = Index::open(folder.path(), &MODEL)?;
    ask(&index)
}

/// An index of one file, opened and searched in both ways.
fn search(file: &[u8]) -> Result<usize, SearchError> {
    opened(file, |index| {
        let found = index.search_image(&scene(0).render(), 3)?;
        index.search_text(TEXT, &TextSearch { top: 3, shortlist: 2 })?;
        Ok(found.len())
    })
}

#[track_caller]
fn says(error: &SearchError, what: &str) {
    let error = error.to_string();
    assert!(error.contains(what) && error.contains("pictures-000001"), "{error}");
}

#[track_caller]
fn refuses(file: &[u8], what: &str) {
    says(&search(file).unwrap_err(), what);
}

#[test]
fn damaged_files_are_refused() {
    assert_eq!(search(&SOUND).unwrap(), 3);
    for length in [0, 1, 8, 100, data(&SOUND), SOUND.len() - 1] {
        assert!(search(&SOUND[..length]).is_err(), "{length}");
    }
    refuses(&[&SOUND[..], &[0]].concat(), "damaged");
    refuses(pocket::WEIGHTS, "no file of an index");
    refuses(&replaced("paligemma-index", "paligemma-index2"), "no file of an index");
    refuses(&replaced("\\\"version\\\":1", "\\\"version\\\":2"), "layout");
    refuses(&replaced("\\\"rows\\\":[{", "\\\"rows\\\":[{},{"), "rows cannot be read");
    refuses(&replaced("000.png", "\\\\u001b[2J.png"), "not what was written");
    refuses(&replaced("\"F16\"", "\"I16\""), "do not fit");
    refuses(&replaced("\"shape\":[3,64,128]", "\"shape\":[3,128,64]"), "as the model makes");
    refuses(&replaced("\"shape\":[3,64,128]", "\"shape\":[6,32,128]"), "do not fit");
}

#[test]
fn embeddings_that_no_model_makes_are_refused() {
    // They are the first numbers. The third is finite, its square is not.
    let first = data(&SOUND);
    for number in [f32::NAN, f32::INFINITY, -2e19, 1.1] {
        let mut file = SOUND.clone();
        file[first..first + 4].copy_from_slice(&number.to_le_bytes());
        refuses(&file, "numbers that no model makes");
    }
}

#[test]
fn features_that_no_model_makes_are_refused() {
    // They are the last numbers: this is a NaN in f16, of the last picture.
    let mut file = SOUND.clone();
    let last = file.len() - 2;
    file[last..].copy_from_slice(&[1, 0x7c]);
    // Searches by a picture need no features, those by a text those of every picture.
    let found = opened(&file, |index| index.search_image(&scene(0).render(), 3)).unwrap();
    assert_eq!(found.len(), 3);
    let all = TextSearch { top: 3, shortlist: 3 };
    let error = opened(&file, |index| index.search_text(TEXT, &all)).unwrap_err();
    says(&error, "numbers that no model makes");
}

#[test]
fn what_is_no_index_is_said_to_be_none() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("notes.txt"), "").unwrap();
    for path in [folder.path(), &folder.path().join("none"), &folder.path().join("notes.txt")] {
        let error = Index::open(path, &MODEL).err().unwrap();
        assert!(matches!(error, SearchError::NoIndex { .. }), "{error}");
    }
}

#[test]
fn another_model_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let other = other_model(folder.path());
    let album = Album::new(0..2);
    album.update();
    let before = album.files();
    let error = Index::open(&album.out(), &other).err().unwrap();
    assert!(matches!(error, SearchError::OtherModel { .. }), "{error}");
    let error = update(&other, &album.pictures(), &album.out(), |_| ()).unwrap_err();
    assert!(matches!(error, SearchError::OtherModel { .. }), "{error}");
    assert_eq!(album.files(), before);
}

/// The embedded model with one number changed.
fn other_model(folder: &Path) -> PaliGemma {
    let mut weights = pocket::WEIGHTS.to_vec();
    *weights.last_mut().unwrap() ^= 1;
    fs::write(folder.join("config.json"), pocket::CONFIG).unwrap();
    fs::write(folder.join("tokenizer.json"), pocket::TOKENIZER).unwrap();
    fs::write(folder.join("model.safetensors"), weights).unwrap();
    PaliGemma::open(folder, DeviceSpec::Flex, Dtype::F32).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_change_of_a_file_is_a_panic(
        places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        in_header: bool,
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        let mut file = SOUND.clone();
        let end = if in_header { data(&file) } else { file.len() };
        for (place, byte) in places {
            file[place.index(end)] = byte;
        }
        if let Some(cut) = cut {
            file.truncate(cut.index(file.len()));
        }
        // Whatever comes of it, it comes back.
        let _ = search(&file);
    }
}
