//! Files of JSON lines: round trips, and every fault at its line.

use std::fs;
use std::path::{Path, PathBuf};

use paligemma_data::{DataError, Example, LISTED, Place, Problem, read_jsonl, write_jsonl};
use paligemma_processor::image::RgbImage;
use proptest::prelude::*;
use tempfile::TempDir;

/// A folder with the pictures a.png, b.png and the damaged c.png.
fn desk() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.png", "b.png"] {
        RgbImage::new(3, 2).save(folder.path().join(name)).unwrap();
    }
    fs::write(folder.path().join("c.png"), "no picture").unwrap();
    folder
}

fn read(folder: &Path, contents: impl AsRef<[u8]>) -> Result<Vec<Example>, DataError> {
    let file = folder.join("rows.jsonl");
    fs::write(&file, contents).unwrap();
    read_jsonl(&file)
}

/// The faults of a file, by their lines.
#[track_caller]
fn faults(folder: &Path, contents: impl AsRef<[u8]>) -> Vec<(usize, Problem)> {
    match read(folder, contents) {
        Err(DataError::Faults { faults, total }) => {
            assert_eq!(faults.len(), total.min(LISTED));
            let at = |place| match place {
                Place::Line(line) => line,
                other => panic!("{other:?}"),
            };
            faults.into_iter().map(|fault| (at(fault.place), fault.problem)).collect()
        }
        other => panic!("{other:?}"),
    }
}

const GOOD: &str = r#"{"image": "a.png", "prefix": "caption en", "suffix": "a cat"}"#;

#[test]
fn rows_are_read_with_their_pictures_beside_the_file() {
    let folder = desk();
    let lines = format!(
        "{GOOD}\r\n{}\n{}\n\n  \n",
        r#"{"prefix": "q", "images": ["a.png", "b.png"], "suffix": "no"}"#,
        r#"{"image": "b.png", "prefix": "q", "suffix": "no", "references": ["no", "none"]}"#,
    );
    let at = |name: &str| folder.path().join(name);
    let several = vec!["no".to_owned(), "none".to_owned()];
    let expected = [
        Example::new(vec![at("a.png")], "caption en".to_owned(), "a cat".to_owned()),
        Example::new(vec![at("a.png"), at("b.png")], "q".to_owned(), "no".to_owned()),
        Example {
            references: several,
            ..Example::new(vec![at("b.png")], "q".to_owned(), "no".to_owned())
        },
    ];
    assert_eq!(read(folder.path(), lines).unwrap(), expected);
}

#[test]
fn every_fault_is_told_with_its_line() {
    let folder = desk();
    let path = |name: &str| folder.path().join(name);
    let type_of = |key, expected| Problem::Type { key, expected };
    let texts = "a list of one text or more";
    for (line, expected) in [
        ("", vec![Problem::Blank]),
        (
            r#"{"image": "a.png", "sufix": "x", "prefix": "q", "suffix": "x"}"#,
            vec![Problem::UnknownKey { key: "sufix".to_owned(), nearest: "suffix" }],
        ),
        (
            r#"{"image": "a.png", "prefix": "q", "prefix": "r", "suffix": "x"}"#,
            vec![Problem::SameKey { key: "prefix".to_owned() }],
        ),
        (
            r#"{"image": "a.png"}"#,
            vec![Problem::MissingKey { key: "prefix" }, Problem::MissingKey { key: "suffix" }],
        ),
        (r#"{"image": "a.png", "prefix": 1, "suffix": "x"}"#, vec![type_of("prefix", "a text")]),
        (
            r#"{"images": [], "prefix": "q", "suffix": "x", "references": "x"}"#,
            vec![type_of("images", texts), type_of("references", texts)],
        ),
        (
            r#"{"image": "a.png", "prefix": "q", "suffix": " "}"#,
            vec![Problem::Empty { key: "suffix" }],
        ),
        (r#"{"image": "", "prefix": "q", "suffix": "x"}"#, vec![Problem::Empty { key: "image" }]),
        (r#"{"prefix": "q", "suffix": "x"}"#, vec![Problem::ImageOrImages]),
        (
            r#"{"image": "a.png", "images": ["b.png"], "prefix": "q", "suffix": "x"}"#,
            vec![Problem::ImageOrImages],
        ),
        (
            r#"{"image": "a.png", "prefix": "<image>q", "suffix": "x<eos>"}"#,
            vec![
                Problem::ControlToken { key: "prefix", token: "<image>" },
                Problem::ControlToken { key: "suffix", token: "<eos>" },
            ],
        ),
        (
            r#"{"image": "a.png", "prefix": "q", "suffix": "x", "references": ["x", "<bos>"]}"#,
            vec![Problem::ControlToken { key: "references", token: "<bos>" }],
        ),
        (
            r#"{"image": "a.png", "prefix": "q", "suffix": "<loc1024>"}"#,
            vec![Problem::NoSuchToken { key: "suffix", found: "<loc1024>".to_owned() }],
        ),
        (
            r#"{"images": ["a.png", "d.png"], "prefix": "", "suffix": "x"}"#,
            vec![Problem::Empty { key: "prefix" }, Problem::NoPicture { path: path("d.png") }],
        ),
    ] {
        let found = faults(folder.path(), format!("{GOOD}\n{line}\n{GOOD}\n"));
        let expected: Vec<_> = expected.into_iter().map(|problem| (2, problem)).collect();
        assert_eq!(found, expected, "{line}");
    }
}

#[test]
fn parsers_and_decoders_say_what_is_wrong() {
    let folder = desk();
    let says = |line: &[u8]| {
        let contents = [GOOD.as_bytes(), b"\n", line, b"\n"].concat();
        let [(2, problem)] = &faults(folder.path(), contents)[..] else { panic!() };
        problem.to_string()
    };
    assert!(says(br#"{"image": "a.png""#).contains("EOF while parsing an object at column 17"));
    assert!(says(b"[1]").contains("expected an object such as {\"image\": .."));
    assert!(
        says(br#"{"image": "c.png", "prefix": "q", "suffix": "x"}"#)
            .contains("c.png: not a picture")
    );
    assert_eq!(says(b"{\"\xff\"}"), "not text in UTF-8");
    let error = read(folder.path(), "{}\n").unwrap_err().to_string();
    let file = folder.path().join("rows.jsonl");
    let lines = ["the data has 3 faults", "image", "prefix", "suffix"];
    assert_eq!(error.lines().count(), lines.len(), "{error}");
    for (line, part) in error.lines().zip(lines) {
        assert!(line.contains(part), "{error}");
    }
    assert!(
        error.contains(&format!("\n  {}:1: \"prefix\" is missing\n", file.display())),
        "{error}"
    );
}

#[test]
fn only_the_first_faults_are_listed_and_all_are_counted() {
    let folder = desk();
    let error = read(folder.path(), "{}\n".repeat(30)).unwrap_err();
    assert!(matches!(error, DataError::Faults { total: 90, ref faults } if faults.len() == LISTED));
    let text = error.to_string();
    assert!(text.starts_with("the data has 90 faults, the first 20 are\n"), "{text}");
    assert_eq!(text.lines().count(), 21);
}

#[test]
fn a_file_without_rows_is_an_error() {
    let folder = desk();
    for contents in ["", "\n \n"] {
        assert!(matches!(read(folder.path(), contents), Err(DataError::Nothing { .. })));
    }
    let missing = read_jsonl(&folder.path().join("no.jsonl"));
    assert!(missing.unwrap_err().to_string().contains("no.jsonl"));
}

#[test]
fn nothing_is_left_of_a_file_that_cannot_be_written() {
    let folder = desk();
    let file = folder.path().join("no/rows.jsonl");
    let error = write_jsonl(&file, &[]).unwrap_err().to_string();
    assert!(error.starts_with("cannot write") && error.contains("rows.jsonl"), "{error}");
    // A folder in its place, which no file replaces.
    fs::create_dir_all(&file).unwrap();
    fs::write(file.join("x"), "").unwrap();
    write_jsonl(&file, &[]).unwrap_err();
    assert_eq!(fs::read_dir(folder.path().join("no")).unwrap().count(), 1);
}

fn text() -> impl Strategy<Value = String> {
    "[a-z\"\\\\\n\u{e9}\u{4e00}\u{1f600} ]{0,12}[a-z]"
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        rows in prop::collection::vec(
            (prop::collection::vec(0..2_usize, 1..4), text(), prop::collection::vec(text(), 1..4)), 1..6,
        ),
    ) {
        let folder = desk();
        let outside = desk();
        let pictures = [folder.path().join("a.png"), outside.path().join("b.png")];
        let examples: Vec<Example> = rows
            .into_iter()
            .map(|(images, prefix, references)| Example {
                images: images.into_iter().map(|index| pictures[index].clone()).collect(),
                prefix,
                suffix: references[0].clone(),
                references,
            })
            .collect();
        let file = folder.path().join("rows.jsonl");
        write_jsonl(&file, &examples).unwrap();
        prop_assert_eq!(&read_jsonl(&file).unwrap(), &examples);
        let names = fs::read_to_string(&file).unwrap();
        prop_assert!(!names.contains(folder.path().to_str().unwrap()), "{}", names);
        prop_assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4);
    }

    #[test]
    fn no_junk_panics(
        lines in prop::collection::vec(
            prop_oneof![
                prop::collection::vec(any::<u8>(), 0..60),
                "[\\[\\]{}\":, a-z0-9<>\\\\\n]{0,80}".prop_map(String::into_bytes),
                Just(GOOD.as_bytes().to_vec()),
                (0..GOOD.len()).prop_map(|end| GOOD.as_bytes()[..end].to_vec()),
            ],
            0..8,
        ),
    ) {
        let folder = desk();
        let contents = lines.join(&b'\n');
        let full = contents.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).count();
        match read(folder.path(), &contents) {
            Ok(examples) => prop_assert_eq!(examples.len(), full),
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }
}

#[test]
fn a_bare_file_name_has_its_pictures_here() {
    let example = Example::new(vec![PathBuf::from("a.png")], "q".to_owned(), "x".to_owned());
    let folder = desk();
    let file = folder.path().join("rows.jsonl");
    write_jsonl(&file, &[example]).unwrap();
    let name = std::path::absolute("a.png").unwrap();
    let written: serde_json::Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    assert_eq!(written["image"], name.to_str().unwrap());
}
