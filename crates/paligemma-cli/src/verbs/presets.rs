//! `presets`: the published recipe of each task.

use clap::Args;
use paligemma_data::Preset;

use crate::args::JsonArgs;
use crate::error::Error;
use crate::output;

/// Recipes to show.
#[derive(Args, Debug)]
pub(crate) struct Presets {
    /// A task, to show all that its recipe says; a line for each if not given
    name: Option<String>,
    #[command(flatten)]
    json: JsonArgs,
}

impl Presets {
    /// Prints the table or a part of it.
    pub(crate) fn run(self) -> Result<(), Error> {
        let presets = match &self.name {
            Some(name) => Preset::named(name)?,
            None => Preset::all(),
        };
        if self.json.json {
            return output::json(&presets);
        }
        if self.name.is_none() {
            let header = ["name", "pixels", "rate", "decay", "epochs", "batch", "metric", "prefix"];
            let rows = presets.iter().map(row);
            return output::table(
                &[header.map(str::to_owned)].into_iter().chain(rows).collect::<Vec<_>>(),
            );
        }
        for preset in presets {
            output::table(&details(preset))?;
            output::text("\n")?;
        }
        Ok(())
    }
}

fn row(preset: &Preset) -> [String; 8] {
    [
        preset.name.clone(),
        preset.resolution.to_string(),
        format!("{:e}", preset.learning_rate),
        format!("{:e}", preset.weight_decay),
        preset.epochs.to_string(),
        preset.batch_size.to_string(),
        preset.metrics.join(", "),
        one_line(&preset.prefix),
    ]
}

/// All that a recipe says, a line each.
fn details(preset: &Preset) -> Vec<[String; 2]> {
    let frozen = if preset.freeze_vision { "left as it is" } else { "trained" };
    let target = serde_json::to_value(preset.target).unwrap_or_default();
    let mut lines = vec![
        ("name", preset.name.clone()),
        ("task", preset.title.clone()),
        ("pixels", preset.resolution.to_string()),
        ("prefix", one_line(&preset.prefix)),
        ("answer learnt", target.as_str().unwrap_or_default().to_owned()),
        ("metrics", preset.metrics.join(", ")),
        ("beams", preset.beams.to_string()),
        ("learning rate", format!("{:e}", preset.learning_rate)),
        ("weight decay", format!("{:e}", preset.weight_decay)),
        ("epochs", preset.epochs.to_string()),
        ("batch size", preset.batch_size.to_string()),
        ("label smoothing", preset.label_smoothing.to_string()),
        ("dropout", preset.dropout.to_string()),
        ("text length", preset.text_length.to_string()),
        ("vision tower", frozen.to_owned()),
        ("augmentation", preset.augmentation.to_string()),
    ];
    if let Some(frames) = preset.frames {
        lines.push(("frames", format!("{}, every {}th", frames.count, frames.stride)));
    }
    lines.extend(preset.note.as_ref().map(|note| ("note", note.clone())));
    lines.push(("source", format!("big_vision/{}", preset.source)));
    lines.into_iter().map(|(name, value)| [name.to_owned(), value]).collect()
}

/// A prefix may have several lines.
fn one_line(prefix: &str) -> String {
    prefix.replace('\n', "\\n")
}
