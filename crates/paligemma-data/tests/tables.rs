//! CSV, Parquet and folders of classes: what they give, and every fault.

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use paligemma_data::{
    DataError, Example, TableOptions, import_csv, import_folders, import_parquet, read_jsonl,
    write_jsonl,
};
use support::{faults, picture};
use tempfile::TempDir;

const TABLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/tables");

/// A folder with the pictures a.png and b.png.
fn desk() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    picture(&folder.path().join("a.png"), 3, 2);
    picture(&folder.path().join("b.png"), 3, 2);
    folder
}

fn row(folder: &Path, name: &str, prefix: &str, suffix: &str) -> Example {
    Example::new(vec![folder.join(name)], prefix.to_owned(), suffix.to_owned())
}

fn file(folder: &TempDir, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, contents).unwrap();
    path
}

#[test]
fn csv_rows_are_read_by_their_columns() {
    let folder = desk();
    let contents =
        "id,suffix,image,prefix\r\n1,\"a, \"\"b\"\"\",a.png,q\r\n2,two\u{e9},b.png,r\r\n";
    let path = file(&folder, "rows.csv", contents);
    let expected = [
        row(folder.path(), "a.png", "q", "a, \"b\""),
        row(folder.path(), "b.png", "r", "two\u{e9}"),
    ];
    let found = import_csv(&path, &TableOptions::default()).unwrap();
    assert_eq!(found.examples, expected);
    let out = folder.path().join("train.jsonl");
    write_jsonl(&out, &expected).unwrap();
    assert_eq!(read_jsonl(&out).unwrap(), expected);

    let path = file(&folder, "rows.tsv", "file\tlabel\na.png\tcat, dog\n");
    let options = TableOptions {
        image: "file".to_owned(),
        suffix: "label".to_owned(),
        same_prefix: Some("answer en what?".to_owned()),
        ..TableOptions::default()
    };
    let found = import_csv(&path, &options).unwrap();
    assert_eq!(found.examples, [row(folder.path(), "a.png", "answer en what?", "cat, dog")]);
}

#[test]
fn every_fault_of_csv_is_told_with_its_line() {
    let folder = desk();
    for (line, expected) in [
        (&b"a.png,q"[..], "the line has 2 columns, the first has 3"),
        (b"a.png,q,x,y", "the line has 4 columns, the first has 3"),
        (b",q,x", "\"image\" is empty"),
        (b"a.png,,x", "\"prefix\" is empty"),
        (b"a.png,q,", "\"suffix\" is empty"),
        (b"a.png,q,<eos>", "\"suffix\" contains the control token <eos>: take it out"),
        (b"a.png,q,\xff", "not text in UTF-8"),
        (b"c.png,q,x", "there is no picture c.png"),
    ] {
        // A text of two lines before, which counts as two.
        let contents =
            [b"image,prefix,suffix\na.png,\"q\nr\",x\n", line, b"\nb.png,q,x\n"].concat();
        let path = file(&folder, "rows.csv", contents);
        let said = faults(folder.path(), import_csv(&path, &TableOptions::default()));
        assert_eq!(said, [format!("rows.csv:4: {expected}")]);
    }
    let path = file(&folder, "rows.csv", "picture,prefix,suffix\n");
    let error = import_csv(&path, &TableOptions::default()).unwrap_err().to_string();
    assert!(
        error.ends_with("has no column \"image\": there are picture, prefix, suffix"),
        "{error}"
    );
    let path = file(&folder, "rows.csv", "image,prefix,suffix\n");
    let empty = import_csv(&path, &TableOptions::default());
    assert!(matches!(empty, Err(DataError::Nothing { .. })));
}

fn answers() -> TableOptions {
    let [prefix, suffix] = ["question", "answer"].map(str::to_owned);
    TableOptions { prefix, suffix, ..TableOptions::default() }
}

#[test]
fn pictures_inside_a_table_come_to_lie_beside_the_rows() {
    let folder = desk();
    let inside = folder.path().join("train.images");
    let table = Path::new(TABLES).join("inside.parquet");
    let found = import_parquet(&table, &answers(), &inside).unwrap();
    let expected = [
        row(&inside, "000000.png", "answer en what colour?", "red"),
        row(&inside, "000001.jpg", "answer en where?", "here"),
        row(&inside, "000002.png", "answer en caf\u{e9}?", "yes"),
    ];
    assert_eq!(found.examples, expected);
    let out = folder.path().join("train.jsonl");
    write_jsonl(&out, &found.examples).unwrap();
    assert_eq!(read_jsonl(&out).unwrap(), expected);
    for (name, width, shade) in
        [("000000.png", 6, 10), ("000001.jpg", 7, 20), ("000002.png", 5, 30)]
    {
        let picture = paligemma_processor::open_picture(&inside.join(name)).unwrap();
        assert_eq!(picture.dimensions(), (width, 4));
        assert!(picture.get_pixel(2, 2).0[0].abs_diff(shade) <= 2);
    }
    let again = import_parquet(&table, &answers(), &inside);
    assert!(matches!(again, Err(DataError::Exists { path }) if path == inside));
}

#[test]
fn named_pictures_and_folders_of_tables_are_read() {
    let folder = desk();
    for name in ["2.parquet", "10.parquet"] {
        fs::copy(Path::new(TABLES).join("named.parquet"), folder.path().join(name)).unwrap();
    }
    let inside = folder.path().join("train.images");
    let found = import_parquet(folder.path(), &TableOptions::default(), &inside).unwrap();
    let cat = row(folder.path(), "a.png", "caption en", "a cat");
    let dog = row(folder.path(), "b.png", "caption en", "a dog");
    assert_eq!(found.examples, [&cat, &dog, &cat, &dog].map(Clone::clone));
    assert!(!inside.exists());

    fs::remove_file(folder.path().join("b.png")).unwrap();
    let one = folder.path().join("2.parquet");
    let said = faults(folder.path(), import_parquet(&one, &TableOptions::default(), &inside));
    assert_eq!(said, ["2.parquet: row 2: there is no picture b.png"]);
    let error = import_parquet(&one, &answers(), &inside).unwrap_err().to_string();
    assert!(error.contains("no column \"question\": there are image, prefix, suffix"), "{error}");
    let junk = file(&folder, "junk.parquet", "PAR1 nothing PAR1");
    let error = import_parquet(&junk, &answers(), &inside);
    assert!(matches!(error, Err(DataError::Format { .. })));
}

#[test]
fn nothing_is_left_of_a_table_with_a_fault() {
    let folder = desk();
    let inside = folder.path().join("train.images");
    let table = Path::new(TABLES).join("inside.parquet");
    // The list of answers is no text.
    let options = TableOptions { suffix: "answers".to_owned(), ..answers() };
    let said = faults(Path::new(TABLES), import_parquet(&table, &options, &inside));
    assert_eq!(said.len(), 3);
    assert_eq!(said[0], "inside.parquet: row 1: \"suffix\" is not a text");
    let mut there: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    there.sort();
    assert_eq!(there, ["a.png", "b.png"]);
}

#[test]
fn folders_are_classes() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for name in ["cat/2.png", "cat/10.png", "hot dog/x/a.png", ".cache/a.png"] {
        picture(&at(name), 2, 2);
    }
    fs::write(at("cat/.DS_Store"), "").unwrap();
    let found = import_folders(folder.path(), "answer en what?").unwrap();
    let row = |name, class| row(folder.path(), name, "answer en what?", class);
    let expected =
        [row("cat/2.png", "cat"), row("cat/10.png", "cat"), row("hot dog/x/a.png", "hot dog")];
    assert_eq!(found.examples, expected);

    fs::write(at("cat/broken.png"), "").unwrap();
    fs::write(at("cat/notes.txt"), "").unwrap();
    fs::create_dir(at("dog")).unwrap();
    picture(&at("alone.png"), 2, 2);
    let said = faults(folder.path(), import_folders(folder.path(), "answer en what?"));
    let broken = said.iter().find(|line| line.starts_with("cat/broken.png: ")).unwrap();
    assert!(broken.contains("not a picture"), "{broken}");
    for line in [
        "alone.png: the picture lies in no folder of a class",
        "cat/notes.txt: not the name of a picture: take the file out",
        "dog: the class has no picture",
    ] {
        assert!(said.iter().any(|said| said == line), "{said:?}");
    }
    assert_eq!(said.len(), 4);
}
