//! A preset by its name and resolution.

use std::collections::BTreeSet;

use thiserror::Error;

use super::Preset;

/// Why there is no preset.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum PresetError {
    /// No task has this name.
    #[error("there is no preset `{name}`: did you mean {}?", nearest.join(", "))]
    Name {
        /// The name.
        name: String,
        /// Those most like it.
        nearest: Vec<&'static str>,
    },
    /// The task was not trained at this resolution.
    #[error("the preset `{name}` is for {}, not for {resolution} pixels", listed(there))]
    Resolution {
        /// The task.
        name: String,
        /// What was asked for.
        resolution: usize,
        /// What there is.
        there: Vec<usize>,
    },
}

/// Names that an error suggests.
const SUGGESTIONS: usize = 3;

fn listed(resolutions: &[usize]) -> String {
    resolutions.iter().map(usize::to_string).collect::<Vec<_>>().join(" or ")
}

impl Preset {
    /// The preset of a task at a resolution.
    ///
    /// # Errors
    /// If there is none, with what there is instead.
    pub fn find(name: &str, resolution: usize) -> Result<Self, PresetError> {
        let all = Self::named(name)?;
        let found = all.iter().find(|preset| preset.resolution == resolution);
        let there = || all.iter().map(|preset| preset.resolution).collect();
        let missing =
            || PresetError::Resolution { name: name.to_owned(), resolution, there: there() };
        found.cloned().ok_or_else(missing)
    }

    /// The presets of a task, one for each resolution.
    ///
    /// # Errors
    /// [`PresetError::Name`] if there is no such task.
    pub fn named(name: &str) -> Result<&'static [Self], PresetError> {
        let all = Self::all();
        let first = all.partition_point(|preset| preset.name.as_str() < name);
        let end = all.partition_point(|preset| preset.name.as_str() <= name);
        if first < end {
            return Ok(&all[first..end]);
        }
        let names: BTreeSet<&str> = all.iter().map(|preset| preset.name.as_str()).collect();
        let mut nearest: Vec<&str> = names.into_iter().collect();
        nearest.sort_by(|a, b| {
            strsim::jaro_winkler(b, name).total_cmp(&strsim::jaro_winkler(a, name))
        });
        nearest.truncate(SUGGESTIONS);
        Err(PresetError::Name { name: name.to_owned(), nearest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_suggested() {
        let said = |name, resolution| Preset::find(name, resolution).unwrap_err().to_string();
        let typo = said("vqa2", 224);
        assert!(typo.starts_with("there is no preset `vqa2`: did you mean vqav2,"), "{typo}");
        assert_eq!(said("vqav2", 896), "the preset `vqav2` is for 224 or 448, not for 896 pixels");
        assert_eq!(Preset::named("docvqa").unwrap().len(), 3);
        assert!(said("", 224).contains("did you mean"));
    }
}
