//! Updates: only what is new is read, nothing is lost, nothing that is gone stays.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use paligemma_search::{Progress, Report, SearchError, update};

use crate::support::{Album, MODEL, number, scene};

#[test]
fn an_update_reads_only_what_is_new() {
    let album = Album::new(0..20);
    fs::write(album.pictures().join("bad.jpg"), "no picture").unwrap();
    fs::write(album.pictures().join("notes.txt"), "no picture either").unwrap();
    let report = album.update();
    assert_eq!((report.added, report.unchanged, report.removed), (20, 0, 0));
    let [bad] = &report.failed[..] else { panic!("{report:?}") };
    assert!(bad.path.ends_with("bad.jpg") && bad.error.starts_with("not a picture"), "{bad:?}");
    let files = album.files();
    assert_eq!(files.len(), 2);

    let report = album.update();
    assert_eq!((report.added, report.unchanged, report.failed.len()), (0, 20, 1));
    assert_eq!(album.files(), files);

    album.add(20);
    fs::remove_file(album.path(4)).unwrap();
    scene(77).render_at(2).save(album.path(5)).unwrap();
    fs::write(album.path(6), "no longer a picture").unwrap();
    let report = album.update();
    assert_eq!((report.added, report.unchanged), (2, 17));
    assert_eq!((report.removed, report.failed.len()), (2, 2));
    let index = album.index();
    assert_eq!(index.len(), 19);
    let found = index.search_image(&scene(77).render_at(2), 100).unwrap();
    assert_eq!((number(&found[0].path), found[0].size), (5, (224, 224)));
    assert!(found.iter().all(|found| ![4, 6].contains(&number(&found.path))));
    assert_eq!(album.update(), Report { added: 0, unchanged: 19, removed: 0, ..report });
}

#[test]
fn a_new_index_of_no_pictures_is_refused_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("notes.txt"), "no picture").unwrap();
    let out = folder.path().join("index");
    let error = update(&MODEL, folder.path(), &out, |_| ()).unwrap_err();
    assert!(matches!(error, SearchError::NoPictures { .. }), "{error}");
    assert!(!out.exists());
    fs::create_dir(&out).unwrap();
    assert!(update(&MODEL, folder.path(), &out, |_| ()).is_err());
    assert_eq!(fs::read_dir(&out).unwrap().count(), 0);
}

#[test]
#[cfg(unix)]
fn what_cannot_be_looked_at_stays() {
    let album = Album::new(0..6);
    album.update();
    let before = album.files();
    // A link to itself, of which the system tells nothing.
    fs::remove_file(album.path(4)).unwrap();
    std::os::unix::fs::symlink(album.path(4), album.path(4)).unwrap();
    let report = album.update();
    assert_eq!((report.unchanged, report.removed, report.failed.len()), (5, 0, 1));
    assert_eq!(album.files(), before);
    fs::remove_file(album.path(4)).unwrap();
    let report = album.update();
    assert_eq!((report.removed, report.failed.len(), album.index().len()), (1, 0, 5));
}

#[test]
fn an_interrupted_update_goes_on_where_it_was() {
    let album = Album::new(0..40);
    let stop = |Progress { done, total }| assert_eq!((done, total), (0, 40), "stopped here");
    let stopped =
        catch_unwind(AssertUnwindSafe(|| update(&MODEL, &album.pictures(), &album.out(), stop)));
    assert!(stopped.is_err());
    let [(first, contents)] = &album.files()[..] else { panic!("one file") };
    assert_eq!(album.index().len(), 16);
    // Half a file, as a process that was killed leaves it.
    let half = album.out().join(".part-killed");
    fs::write(&half, &contents[..contents.len() / 2]).unwrap();
    assert!(paligemma_files::is_unfinished(half.file_name().unwrap()));
    assert_eq!(album.index().len(), 16);

    let report = album.update();
    assert_eq!((report.added, report.unchanged), (24, 16));
    assert_eq!(fs::read(first).unwrap(), *contents);
    assert!(!half.exists());
    assert_eq!(album.index().len(), 40);
    // The same as in one go, but for the order of work.
    let other = Album::new(0..40);
    other.update();
    let names = |album: &Album| {
        let found = album.index().search_image(&scene(3).render(), 40).unwrap();
        found.iter().map(|found| number(&found.path)).collect::<Vec<_>>()
    };
    assert_eq!(names(&album), names(&other));
}

#[test]
fn an_index_has_one_writer_and_any_reader() {
    let album = Album::new(0..3);
    album.update();
    album.add(3);
    // In the middle of an update.
    let mut met = 0;
    let middle = |_: Progress| {
        let other = update(&MODEL, &album.pictures(), &album.out(), |_| ()).unwrap_err();
        assert!(matches!(&other, SearchError::Locked { path } if *path == album.out()), "{other}");
        assert_eq!(album.index().len(), 4);
        met += 1;
    };
    update(&MODEL, &album.pictures(), &album.out(), middle).unwrap();
    assert_eq!(met, 1);
    assert_eq!(album.update().unchanged, 4);
}

#[test]
fn progress_counts_every_picture_once() {
    let album = Album::new(0..35);
    fs::write(album.pictures().join("bad.png"), "").unwrap();
    let mut seen = Vec::new();
    update(&MODEL, &album.pictures(), &album.out(), |progress| seen.push(progress)).unwrap();
    let seen: Vec<_> = seen.iter().map(|seen| (seen.done, seen.total)).collect();
    assert_eq!(seen, [(16, 36), (32, 36), (36, 36)]);
}

#[test]
fn folders_that_cannot_be_indexed_are_refused() {
    let album = Album::new(0..2);
    album.update();
    let other = Album::new(0..1);
    let message = |pictures: &Path, out: &Path| update(&MODEL, pictures, out, |_| ()).unwrap_err();
    let error = message(&other.pictures(), &album.out());
    assert!(matches!(error, SearchError::OtherFolder { .. }), "{error}");
    assert_eq!(album.index().len(), 2);
    let none = album.pictures().join("none");
    let error = message(&none, &album.out());
    assert!(matches!(error, SearchError::Read { .. }), "{error}");
    let error = message(&album.path(1), &album.out());
    assert!(matches!(error, SearchError::Read { .. }), "{error}");
    let error = message(&album.pictures(), &album.path(1));
    assert!(matches!(error, SearchError::Write { .. }), "{error}");
}
