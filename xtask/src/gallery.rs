//! `gallery`: what the embedded model says of scenes that it never saw, as a page with pictures.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::workspace::{self, Result};

/// The first seed that no training reads (docs/pocket.md).
const FIRST_HELD_OUT_SEED: u64 = 1 << 40;

/// The first held-out scenes of two things: none was chosen.
const SCENES: [&str; 4] = ["a.png", "b.png", "c.png", "d.png"];

/// What is asked, in the folder of the scenes.
const EXAMPLES: &[&[&str]] = &[
    &["index", ".", "--out", "../gallery.index"],
    &["search", "../gallery.index", "--text", "a black triangle", "--top", "2"],
    &["search", "../gallery.index", "--image", "c.png", "--top", "2"],
    &["caption", "a.png"],
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
    &["rank", "--text", "an orange square and a purple cross", "a.png", "b.png", "c.png", "d.png"],
    &["generate", "c.png", "--prompt", "caption en", "--num-beams", "3", "--num-answers", "3"],
];

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
    for (seed, name) in (FIRST_HELD_OUT_SEED..).zip(SCENES) {
        let mut draw = Command::new(&pocket);
        draw.args(["picture", "--things", "2", "--seed", &seed.to_string(), "--out", name]);
        workspace::output(draw.current_dir(&scenes))?;
    }
    let program = workspace::built("release", "paligemma")?;
    let page = page(|words| {
        let mut command = Command::new(&program);
        let said = workspace::output(command.args(words).current_dir(&scenes))?;
        // Where the scenes lie for the moment is of no interest.
        let place = format!("{}{}", scenes.display(), std::path::MAIN_SEPARATOR);
        Ok(String::from_utf8_lossy(&said).replace(&place, ""))
    })?;
    keep(&scenes, &page)
}

/// The page, given what each example prints.
fn page(mut answer: impl FnMut(&[&str]) -> Result<String>) -> Result<String> {
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
        let _ = write!(page, "\n```console\n$ {line}\n{said}```\n");
        if let Some(at) = words.iter().position(|word| *word == "--out") {
            let out = words[at + 1];
            if Path::new(out).extension().is_some_and(|extension| extension == "png") {
                let _ = write!(page, "\n![{line}](images/gallery/{out})\n");
            }
        }
    }
    Ok(page)
}

/// Puts the pictures and the page into their places.
fn keep(scenes: &Path, page: &str) -> Result {
    let root = workspace::root();
    let failed = |what: &Path, cause| format!("cannot write {}: {cause}", what.display());
    let pictures = root.join(PICTURES);
    fs::create_dir_all(&pictures).map_err(|cause| failed(&pictures, cause))?;
    for entry in fs::read_dir(scenes).map_err(|cause| failed(scenes, cause))? {
        let from = entry.map_err(|cause| failed(scenes, cause))?.path();
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
        let page = page(|words| Ok(format!("{} said\n", words[0]))).unwrap();
        assert_eq!(page.matches("```console\n$ paligemma ").count(), EXAMPLES.len());
        assert!(page.contains("$ paligemma caption a.png\ncaption said\n```"));
        assert!(page.contains("(images/gallery/d.masks.png)"));
        assert!(SCENES.iter().all(|name| page.contains(&format!("![{name}]("))));
        assert!(!page.contains("gallery.index)"), "an index is no picture");
    }

    #[test]
    fn what_cannot_be_answered_ends_the_page() {
        assert_eq!(page(|_| Err("no answer".to_owned())), Err("no answer".to_owned()));
    }
}
