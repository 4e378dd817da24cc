//! COCO's annotations of objects: boxes to `detect`, outlines and masks to `segment`.
//!
//! Format: <https://cocodataset.org/#format-data>.

mod file;
mod shape;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use paligemma_processor::{CODES, Detection};
use rayon::prelude::*;
use serde::de::{DeserializeOwned, IgnoredAny};

use self::file::{Annotation, File};
use self::shape::Shape;
use super::objects::{Style, check_label, detection, fractions};
use super::{Imported, Notes, Skip};
use crate::pictures::Sizes;
use crate::{DataError, Place, Problem};

/// How annotations are imported.
#[derive(Clone, Debug, Default)]
pub struct CocoOptions {
    /// The folder of the pictures; that of the annotations if not given.
    pub images: Option<PathBuf>,
    /// Ask for every class in every picture, not only for those that are in it.
    pub every_class: bool,
    /// What is left out.
    pub skip: Vec<Skip>,
}

/// Gives the codes of masks within their boxes, each 64 x 64 numbers 0..=1.
pub type MaskEncoder<'a> = &'a mut dyn FnMut(&[Vec<f32>]) -> Vec<[u8; CODES]>;

/// Makes a row `detect a ; b` of every picture, with the boxes in the order of the file.
///
/// # Errors
/// [`DataError::Faults`] if any record is wrong: keys, types, numbers of pictures and categories,
/// boxes that leave their pictures, pictures that are missing or of another size, and all that
/// cannot be expressed and is not to be skipped.
pub fn import_coco(annotations: &Path, options: &CocoOptions) -> Result<Imported, DataError> {
    let source = Source::<IgnoredAny>::read(annotations, options)?;
    let mut notes = source.notes;
    let style =
        Style { verb: "detect", classes: &source.classes, every_class: options.every_class };
    let mut examples = Vec::new();
    for Picture { id, path, objects, .. } in source.pictures {
        let found: Vec<Detection> = objects.into_iter().map(|object| object.found).collect();
        if found.is_empty() {
            notes.add(annotations, record("image", id), Problem::EmptyPicture);
        } else {
            examples.push(style.example(path, &found));
        }
    }
    notes.finish(annotations, examples)
}

/// Pictures whose masks are drawn at once.
const DRAWN: usize = 32;

/// Makes a row `segment a ; b` of every picture: boxes, and the codes that `encode` gives to the
/// masks within them.
///
/// # Errors
/// As [`import_coco`], and if an outline or run lengths cannot be read.
pub fn import_coco_masks(
    annotations: &Path,
    options: &CocoOptions,
    encode: MaskEncoder<'_>,
) -> Result<Imported, DataError> {
    let mut source = Source::<Shape>::read(annotations, options)?;
    let mut notes = source.notes;
    let style =
        Style { verb: "segment", classes: &source.classes, every_class: options.every_class };
    let mut examples = Vec::new();
    // Masks are as large as their pictures are said to be, which must be true before any is drawn.
    source.pictures.retain(|picture| picture.is_sound);
    for pictures in source.pictures.chunks_mut(DRAWN) {
        let drawn: Vec<Vec<_>> = pictures.par_iter().map(draw).collect();
        let mut masks = Vec::new();
        for (picture, drawn) in pictures.iter_mut().zip(drawn) {
            let mut outcomes = drawn.into_iter();
            picture.objects.retain(|object| match outcomes.next() {
                Some(Ok(mask)) => {
                    masks.push(mask);
                    true
                }
                Some(Err(problem)) => {
                    notes.add(annotations, record("annotation", object.id), problem);
                    false
                }
                None => false,
            });
            if picture.objects.is_empty() {
                notes.add(annotations, record("image", picture.id), Problem::EmptyPicture);
            }
        }
        let mut codes = encode(&masks).into_iter();
        for picture in pictures.iter().filter(|picture| !picture.objects.is_empty()) {
            let objects = picture.objects.iter();
            let found: Vec<Detection> = objects
                .map(|object| Detection { codes: codes.next(), ..object.found.clone() })
                .collect();
            examples.push(style.example(picture.path.clone(), &found));
        }
    }
    notes.finish(annotations, examples)
}

/// The masks of a picture within their boxes.
fn draw(picture: &Picture<Shape>) -> Vec<Result<Vec<f32>, Problem>> {
    let of = |object: &Object<Shape>| object.shape.within(object.edges, picture.size);
    picture.objects.iter().map(of).collect()
}

fn record(kind: &str, id: i64) -> Place {
    Place::Record(format!("{kind} {id}"))
}

/// A file of annotations whose numbers, sizes and boxes are in order, or noted.
struct Source<'a, S> {
    classes: Vec<String>,
    pictures: Vec<Picture<S>>,
    notes: Notes<'a>,
}

struct Picture<S> {
    id: i64,
    path: PathBuf,
    /// As the annotations say.
    size: (u32, u32),
    /// Whether the file is there and of that size; what is wrong with another is noted.
    is_sound: bool,
    objects: Vec<Object<S>>,
}

struct Object<S> {
    id: i64,
    found: Detection,
    /// Left, top, right and bottom edge, in pixels.
    edges: [f64; 4],
    shape: S,
}

impl<'a, S: DeserializeOwned + Default> Source<'a, S> {
    fn read(path: &Path, options: &'a CocoOptions) -> Result<Self, DataError> {
        let file = File::<S>::read(path)?;
        let mut notes = Notes::new(&options.skip);
        for (place, problem) in file.damaged() {
            notes.add(path, place, problem);
        }
        let folder =
            options.images.as_deref().unwrap_or_else(|| path.parent().unwrap_or(Path::new("")));
        let classes = classes(&file, path, &mut notes);
        let mut pictures = pictures(&file, folder, path, &mut notes);
        let places: HashMap<i64, usize> =
            pictures.iter().enumerate().map(|(place, picture)| (picture.id, place)).collect();
        let mut seen = HashSet::new();
        for annotation in file.annotations.good {
            let id = annotation.id;
            let problem = if seen.insert(id) {
                object(annotation, &classes, &places, &mut pictures).err()
            } else {
                Some(Problem::SameId { id })
            };
            if let Some(problem) = problem {
                notes.add(path, record("annotation", id), problem);
            }
        }
        let classes = classes.into_iter().map(|(_, name)| name).collect();
        Ok(Self { classes, pictures, notes })
    }
}

/// Numbers and names of categories, in the order of the file.
fn classes<S>(file: &File<S>, path: &Path, notes: &mut Notes<'_>) -> Vec<(i64, String)> {
    let mut classes: Vec<(i64, String)> = Vec::new();
    for category in &file.categories.good {
        let place = || record("category", category.id);
        if classes.iter().any(|(id, _)| *id == category.id) {
            notes.add(path, place(), Problem::SameId { id: category.id });
        }
        if let Err(problem) = check_label(&category.name) {
            notes.add(path, place(), problem);
        }
        classes.push((category.id, category.name.trim().to_owned()));
    }
    classes
}

/// Pictures without objects as yet.
fn pictures<S>(
    file: &File<S>,
    folder: &Path,
    path: &Path,
    notes: &mut Notes<'_>,
) -> Vec<Picture<S>> {
    let images = &file.images.good;
    let paths: Vec<PathBuf> = images.iter().map(|image| folder.join(&image.file_name)).collect();
    let sizes = Sizes::of(paths.iter().map(AsRef::as_ref));
    let mut seen = HashSet::new();
    let mut pictures = Vec::with_capacity(images.len());
    for (image, picture) in images.iter().zip(paths) {
        let said = (image.width, image.height);
        let problem = match sizes.get(&picture) {
            _ if !seen.insert(image.id) => Some(Problem::SameId { id: image.id }),
            Ok(there) if there != said => Some(Problem::PictureSize { there, said }),
            sound => sound.err(),
        };
        let (id, is_sound) = (image.id, problem.is_none());
        if let Some(problem) = problem {
            notes.add(path, record("image", id), problem);
        }
        pictures.push(Picture { id, path: picture, size: said, is_sound, objects: Vec::new() });
    }
    pictures
}

/// Adds an object to its picture.
fn object<S>(
    annotation: Annotation<S>,
    classes: &[(i64, String)],
    places: &HashMap<i64, usize>,
    pictures: &mut [Picture<S>],
) -> Result<(), Problem> {
    let Annotation { id, image_id, category_id, bbox: [x, y, width, height], .. } = annotation;
    let place = places.get(&image_id).ok_or(Problem::NoSuch { kind: "image", id: image_id })?;
    let class = classes.iter().find(|(id, _)| *id == category_id);
    let (_, label) = class.ok_or(Problem::NoSuch { kind: "category", id: category_id })?;
    if annotation.iscrowd != 0 {
        return Err(Problem::Crowd);
    }
    let picture = &mut pictures[*place];
    let edges = [x, y, x + width, y + height];
    let found = detection(label, fractions(edges, picture.size)?);
    picture.objects.push(Object { id, found, edges, shape: annotation.segmentation });
    Ok(())
}
