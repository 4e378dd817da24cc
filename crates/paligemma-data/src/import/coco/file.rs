//! The file of annotations as it is written, record by record.

use std::fmt;
use std::fs::File as Open;
use std::io::BufReader;
use std::marker::PhantomData;
use std::path::Path;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, SeqAccess, Visitor};
use serde_json::Value;

use crate::{DataError, Place, Problem};

/// What is read of a file; `S` is what is wanted of segmentations.
#[derive(Deserialize)]
#[serde(bound = "S: DeserializeOwned + Default")]
pub(super) struct File<S> {
    pub(super) images: Records<Image>,
    pub(super) annotations: Records<Annotation<S>>,
    pub(super) categories: Records<Category>,
}

#[derive(Deserialize)]
pub(super) struct Image {
    pub(super) id: i64,
    pub(super) file_name: String,
    pub(super) width: u32,
    pub(super) height: u32,
}

#[derive(Deserialize)]
#[serde(bound = "S: DeserializeOwned + Default")]
pub(super) struct Annotation<S> {
    pub(super) id: i64,
    pub(super) image_id: i64,
    pub(super) category_id: i64,
    /// Left and top edge, width and height, in pixels.
    pub(super) bbox: [f64; 4],
    #[serde(default)]
    pub(super) iscrowd: u8,
    #[serde(default)]
    pub(super) segmentation: S,
}

#[derive(Deserialize)]
pub(super) struct Category {
    pub(super) id: i64,
    pub(super) name: String,
}

/// A list of which a damaged record does not spoil the others.
pub(super) struct Records<T> {
    pub(super) good: Vec<T>,
    /// The places of damaged records in the list, from zero, and what is wrong.
    bad: Vec<(usize, String)>,
}

impl<S: DeserializeOwned + Default> File<S> {
    pub(super) fn read(path: &Path) -> Result<Self, DataError> {
        let file =
            Open::open(path).map_err(|source| DataError::Read { path: path.to_owned(), source })?;
        let wrong = |error: serde_json::Error| DataError::Format {
            path: path.to_owned(),
            reason: format!("{error}; give COCO's annotations of objects"),
        };
        serde_json::from_reader(BufReader::new(file)).map_err(wrong)
    }

    /// The records that cannot be read.
    pub(super) fn damaged(&self) -> Vec<(Place, Problem)> {
        let lists = [
            ("images", &self.images.bad),
            ("annotations", &self.annotations.bad),
            ("categories", &self.categories.bad),
        ];
        let records = lists.into_iter().flat_map(|(list, bad)| {
            bad.iter().map(move |(index, reason)| {
                let place = Place::Record(format!("{list}[{index}]"));
                (place, Problem::Malformed { reason: reason.clone() })
            })
        });
        records.collect()
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Records<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(RecordsVisitor(PhantomData))
    }
}

struct RecordsVisitor<T>(PhantomData<T>);

impl<'de, T: DeserializeOwned> Visitor<'de> for RecordsVisitor<T> {
    type Value = Records<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of records")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Records<T>, A::Error> {
        let mut records = Records { good: Vec::new(), bad: Vec::new() };
        let mut index = 0;
        while let Some(value) = list.next_element::<Value>()? {
            match serde_json::from_value(value) {
                Ok(record) => records.good.push(record),
                Err(error) => records.bad.push((index, error.to_string())),
            }
            index += 1;
        }
        Ok(records)
    }
}
