//! YOLO folders: pictures in `images`, a file of labels for each in `labels`, names in `data.yaml`.
//!
//! A line of labels is `class x y width height`: the number of the class and the centre and size of
//! a box, in fractions of the picture.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use paligemma_processor::{Detection, is_picture_name};
use yaml_rust2::{Yaml, YamlLoader};

use super::objects::{Style, check_label, detection, fractions};
use super::table::files;
use super::{Imported, Notes, Skip};
use crate::pictures::Sizes;
use crate::{DataError, Place, Problem};

/// How a folder is imported.
#[derive(Clone, Debug, Default)]
pub struct YoloOptions {
    /// The part of the data, such as `train`: `images/train` or `train/images`. Without it all of
    /// `images` is read.
    pub split: Option<String>,
    /// Ask for every class in every picture, not only for those that are in it.
    pub every_class: bool,
    /// What is left out.
    pub skip: Vec<Skip>,
}

/// Makes a row `detect a ; b` of every picture, with the boxes in the order of its labels.
///
/// A picture without a file of labels, or with an empty one, has no object.
///
/// # Errors
/// [`DataError::Faults`] if any line of labels is wrong, a picture cannot be read, labels have no
/// picture, or something cannot be expressed and is not to be skipped.
pub fn import_yolo(folder: &Path, options: &YoloOptions) -> Result<Imported, DataError> {
    let (images, labels) = folders(folder, options.split.as_deref())?;
    let mut notes = Notes::new(&options.skip);
    let classes = names(&folder.join("data.yaml"), &mut notes)?;
    let style = Style { verb: "detect", classes: &classes, every_class: options.every_class };
    let (pictures, _): (Vec<PathBuf>, Vec<PathBuf>) =
        files(&images)?.into_iter().partition(|path| is_picture_name(path));
    let labels_of = |picture: &Path| {
        labels.join(picture.strip_prefix(&images).unwrap_or(picture)).with_extension("txt")
    };
    check_alone(
        &labels,
        &images,
        &pictures.iter().map(|path| labels_of(path)).collect(),
        &mut notes,
    )?;
    let sizes = Sizes::of(pictures.iter().map(AsRef::as_ref));
    let mut examples = Vec::new();
    for picture in pictures {
        let size = match sizes.get(&picture) {
            Ok(size) => size,
            Err(problem) => {
                notes.add(&picture, Place::File, problem);
                continue;
            }
        };
        let found = boxes(&labels_of(&picture), &classes, size, &mut notes)?;
        if found.is_empty() {
            notes.add(&picture, Place::File, Problem::EmptyPicture);
        } else {
            examples.push(style.example(picture, &found));
        }
    }
    notes.finish(folder, examples)
}

/// Where pictures and labels are.
fn folders(folder: &Path, split: Option<&str>) -> Result<(PathBuf, PathBuf), DataError> {
    let of = |kind: &str| match split {
        None => vec![folder.join(kind)],
        Some(split) => vec![folder.join(kind).join(split), folder.join(split).join(kind)],
    };
    let there = of("images").into_iter().zip(of("labels")).find(|(images, _)| images.is_dir());
    there.ok_or_else(|| DataError::Format {
        path: folder.to_owned(),
        reason: format!("there is no folder {}", of("images")[0].display()),
    })
}

/// Notes files of labels that belong to no picture.
fn check_alone(
    labels: &Path,
    images: &Path,
    known: &std::collections::HashSet<PathBuf>,
    notes: &mut Notes<'_>,
) -> Result<(), DataError> {
    let found = if labels.is_dir() { files(labels)? } else { Vec::new() };
    for file in found {
        let is_list = file.file_name() == Some(OsStr::new("classes.txt"));
        if file.extension() == Some(OsStr::new("txt")) && !is_list && !known.contains(&file) {
            notes.add(&file, Place::File, Problem::LabelsAlone { folder: images.to_owned() });
        }
    }
    Ok(())
}

/// The names of the classes in their order, a list or a mapping from numbers.
fn names(path: &Path, notes: &mut Notes<'_>) -> Result<Vec<String>, DataError> {
    let text = fs::read_to_string(path)
        .map_err(|source| DataError::Read { path: path.to_owned(), source })?;
    let wrong = |reason: String| DataError::Format { path: path.to_owned(), reason };
    let documents = YamlLoader::load_from_str(&text).map_err(|error| wrong(error.to_string()))?;
    let missing = || wrong("there are no names, such as `names: [cat, dog]`".to_owned());
    let names = documents.first().map(|document| &document["names"]).ok_or_else(missing)?;
    let names: Option<Vec<String>> = match names {
        Yaml::Array(names) => names.iter().map(name).collect(),
        Yaml::Hash(names) => (0..names.len())
            .map(|index| names.get(&Yaml::Integer(index as i64)).and_then(name))
            .collect(),
        _ => None,
    };
    let names = names.filter(|names| !names.is_empty()).ok_or_else(missing)?;
    for (index, name) in names.iter().enumerate() {
        if let Err(problem) = check_label(name) {
            notes.add(path, Place::Record(format!("name {index}")), problem);
        }
    }
    Ok(names)
}

/// A name, which may look like a number.
fn name(value: &Yaml) -> Option<String> {
    match value {
        Yaml::String(name) => Some(name.trim().to_owned()),
        Yaml::Integer(number) => Some(number.to_string()),
        Yaml::Real(number) => Some(number.clone()),
        _ => None,
    }
}

/// The boxes of a picture.
fn boxes(
    labels: &Path,
    classes: &[String],
    size: (u32, u32),
    notes: &mut Notes<'_>,
) -> Result<Vec<Detection>, DataError> {
    let text = match fs::read_to_string(labels) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(DataError::Read { path: labels.to_owned(), source }),
    };
    let mut found = Vec::new();
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        match object(line, classes, size) {
            Ok(object) => found.push(object),
            Err(problem) => notes.add(labels, Place::Line(number), problem),
        }
    }
    Ok(found)
}

/// The box of a line.
fn object(line: &str, classes: &[String], size: (u32, u32)) -> Result<Detection, Problem> {
    let malformed = |reason: &str| Problem::Malformed { reason: reason.to_owned() };
    let words: Vec<&str> = line.split_whitespace().collect();
    let [class, numbers @ ..] = &words[..] else { return Err(Problem::Blank) };
    let class: i64 = class.parse().map_err(|_| malformed("the class is not a whole number"))?;
    let place = usize::try_from(class).ok().filter(|place| *place < classes.len());
    let label = &classes[place.ok_or(Problem::NoSuch { kind: "class", id: class })?];
    let numbers: Option<Vec<f64>> = numbers
        .iter()
        .map(|word| word.parse().ok().filter(|number: &f64| number.is_finite()))
        .collect();
    let [x, y, width, height] = numbers.unwrap_or_default()[..] else {
        return Err(malformed("a box is `class x y width height`, numbers with spaces between"));
    };
    let across = |edge: f64| edge * f64::from(size.0);
    let down = |edge: f64| edge * f64::from(size.1);
    let (half_width, half_height) = (width / 2.0, height / 2.0);
    let edges = [
        across(x - half_width),
        down(y - half_height),
        across(x + half_width),
        down(y + half_height),
    ];
    Ok(detection(label, fractions(edges, size)?))
}
