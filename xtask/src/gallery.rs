//! `gallery`: what the embedded model says of scenes that it never saw, as a page with pictures.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::workspace::{self, Result};

/// The first held-out scenes of two things: none was chosen.
const SCENES: [&str; 4] = ["a.png", "b.png", "c.png", "d.png"];

/// What pictures are held against. It is said as the model says it: other words are no part of what it
/// knows, and it cannot weigh them.
const TEXT: &str = "a large orange square and a small purple cross";

/// What is asked, in the folder of the scenes.
const EXAMPLES: &[&[&str]] = &[
    &["index", ".", "--out", "../gallery.index"],
    &["search", "../gallery.index", "--text", "a black triangle", "--top", "2"],
    &["search", "../gallery.index", "--image", "c.png", "--top", "2"],
    &["batch", ".", "--prompt", "caption en", "--out", "captions.jsonl", "--json"],
    &["caption", "a.png"],
    &["watch", "a.png", "caption en"],
    &["ask", "b.png", "how many yellow shapes are there?"],
    &["ocr", "d.png"],
    &["detect", "a.png", "blue circle ; purple circle", "--out", "a.boxes.png"],
    &["detect", "c.png", "orange square ; purple cross", "--constrained", "--out", "c.boxes.png"],
    &["segment", "d.png", "black triangle ; white circle", "--out", "d.masks.png"],
    &[
        "segment",
        "b.png",
        "yellow triangle ; yellow cross",
        "--constrained",
        "--out",
        "b.masks.png",
    ],
    &[
        "classify",
        "d.png",
        "--template",
        "answer en what shape is the black thing?",
        "--label",
        "circle",
        "--label",
        "triangle",
        "--label",
        "star",
    ],
    &["match", "c.png", TEXT],
    &["match", "a.png", TEXT],
    &["rank", "--text", TEXT, "a.png", "b.png", "c.png", "d.png"],
    &["embed", "a.png", "b.png"],
    &[
        "score",
        "b.png",
        "--prompt",
        "answer en what color is the cross?",
        "--candidate",
        "yellow",
        "--candidate",
        "white",
    ],
    &["batch", "[ac].png", "--prompt", "detect blue circle", "--out", "boxes.jsonl", "--json"],
    &["convert", "--dtype", "int8", "--out", "../pocket-int8"],
    &["info", "--model", "../pocket-int8"],
    &["generate", "c.png", "--prompt", "caption en", "--num-beams", "3", "--num-answers", "3"],
];

/// The most letters of a line of output that are shown.
const LONGEST_LINE: usize = 160;

const PAGE: &str = "docs/gallery.md";
const PICTURES: &str = "docs/images/gallery";

/// Draws the scenes, asks everything of the built program, and writes the page.
///
/// # Errors
/// A build fails, an answer cannot be made, or a file cannot be written.
pub(crate) fn run() -> Result {
    let packages = ["build", "--release", "-p", "paligemma-pocket", "-p", "paligemma-cli"];
    workspace::run(&mut workspace::cargo(packages))?;
    let folder = tempfile::tempdir().map_err(|cause| format!("no folder to work in: {cause}"))?;
    let scenes = folder.path().join("scenes");
    fs::create_dir(&scenes).map_err(|cause| format!("no folder to work in: {cause}"))?;
    let pocket = workspace::built("release", "pocket")?;
    for (place, name) in SCENES.into_iter().enumerate() {
        let mut draw = Command::new(&pocket);
        draw.args(["picture", "--things", "2", "--held-out", &place.to_string(), "--out", name]);
        workspace::output(draw.current_dir(&scenes))?;
    }
    let program = workspace::built("release", "paligemma")?;
    let answer = |words: &[&str]| {
        let mut command = Command::new(&program);
        let said = workspace::output(command.args(words).current_dir(&scenes))?;
        // Where the scenes lie for the moment is of no interest.
        let place = format!("{}{}", scenes.display(), std::path::MAIN_SEPARATOR);
        Ok(String::from_utf8_lossy(&said).replace(&place, ""))
    };
    let read = |name: &str| {
        let text = fs::read_to_string(scenes.join(name));
        text.map_err(|cause| format!("cannot read {name}: {cause}"))
    };
    let page = page(answer, read)?;
    keep(&scenes, &page)
}

/// The page, given what each example prints and how the files are read that it writes.
fn page(
    mut answer: impl FnMut(&[&str]) -> Result<String>,
    read: impl Fn(&str) -> Result<String>,
) -> Result<String> {
    let mut page = String::from(
        "# Gallery\n\nWhat the embedded model says of the first four held-out scenes of two things \
         ([its card](pocket.md)), right or wrong. `cargo xtask gallery` makes this page.\n\n|",
    );
    // Writing to a string cannot fail.
    for name in SCENES {
        let _ = write!(page, " `{name}` |");
    }
    page.push_str("\n|---|---|---|---|\n|");
    for name in SCENES {
        let _ = write!(page, " ![{name}](images/gallery/{name}) |");
    }
    page.push('\n');
    for words in EXAMPLES {
        let said = answer(words)?;
        let mut command = Command::new("paligemma");
        let line = workspace::shown(command.args(*words));
        let _ = write!(page, "\n```console\n$ {line}\n{}```\n", cut(&said));
        let Some(at) = words.iter().position(|word| *word == "--out") else { continue };
        let out = words[at + 1];
        match Path::new(out).extension().and_then(|extension| extension.to_str()) {
            Some("png") => {
                let _ = write!(page, "\n![{line}](images/gallery/{out})\n");
            }
            Some("jsonl") => {
                let _ = write!(page, "\n```console\n$ cat {out}\n{}```\n", read(out)?);
            }
            _ => {}
        }
    }
    Ok(page)
}

/// The same without the ends of lines that nobody reads to the end.
fn cut(said: &str) -> String {
    let line = |line: &str| match line.char_indices().nth(LONGEST_LINE) {
        Some((end, _)) => format!("{} ...\n", &line[..end]),
        None => format!("{line}\n"),
    };
    said.lines().map(line).collect()
}

/// Puts the pictures and the page into their places.
fn keep(scenes: &Path, page: &str) -> Result {
    let root = workspace::root();
    let failed = |what: &Path, cause| format!("cannot write {}: {cause}", what.display());
    let pictures = root.join(PICTURES);
    fs::create_dir_all(&pictures).map_err(|cause| failed(&pictures, cause))?;
    for entry in fs::read_dir(scenes).map_err(|cause| failed(scenes, cause))? {
        let from = entry.map_err(|cause| failed(scenes, cause))?.path();
        if from.extension().is_none_or(|extension| extension != "png") {
            continue;
        }
        let to = pictures.join(from.file_name().unwrap_or_default());
        fs::copy(&from, &to).map_err(|cause| failed(&to, cause))?;
    }
    let file = root.join(PAGE);
    fs::write(&file, page).map_err(|cause| failed(&file, cause))?;
    println!("wrote {PAGE} and {PICTURES}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_and_every_picture_stands_on_the_page() {
        let answer = |words: &[&str]| Ok(format!("{} said\n", words[0]));
        let page = page(answer, |name| Ok(format!("{{\"in\":\"{name}\"}}\n"))).unwrap();
        assert_eq!(page.matches("```console\n$ paligemma ").count(), EXAMPLES.len());
        assert!(page.contains("$ cat captions.jsonl\n{\"in\":\"captions.jsonl\"}\n```"));
        assert!(page.contains("$ paligemma caption a.png\ncaption said\n```"));
        assert!(page.contains("(images/gallery/d.masks.png)"));
        assert!(SCENES.iter().all(|name| page.contains(&format!("![{name}]("))));
        assert!(!page.contains("gallery.index)"), "an index is no picture");
    }

    #[test]
    fn what_cannot_be_answered_ends_the_page() {
        let none = |_: &[&str]| Err("no answer".to_owned());
        assert_eq!(page(none, |_| Ok(String::new())), Err("no answer".to_owned()));
        let unread = |_: &str| Err("no file".to_owned());
        assert_eq!(page(|_| Ok(String::new()), unread), Err("no file".to_owned()));
    }

    #[test]
    fn long_lines_are_cut() {
        let said = format!("short\n{}\n", "é".repeat(LONGEST_LINE + 1));
        assert_eq!(cut(&said), format!("short\n{} ...\n", "é".repeat(LONGEST_LINE)));
    }
}
