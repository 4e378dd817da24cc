//! A page of the worst answers with their pictures, in one file.

use std::fmt::Write as _;
use std::io::Cursor;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use paligemma::image::{DynamicImage, ImageFormat, RgbImage};
use paligemma_data::Example;
use paligemma_overlay::{Thing, draw};
use paligemma_processor::{open_picture, parse_detections};

use super::Measured;

/// Examples on the page.
const WORST: usize = 50;

/// The longer side of a picture on the page, in pixels.
const SIDE: u32 = 240;

const STYLE: &str = "body{font:15px/1.4 system-ui,sans-serif;margin:2em auto;max-width:60em;\
    padding:0 1em;color:#222;background:#fff}article{display:flex;flex-wrap:wrap;gap:1em;\
    border-top:1px solid #ccc;padding:1em 0}img{display:block;max-width:100%}figure{margin:0}\
    figcaption,dt{color:#666}dl{flex:1;min-width:16em;margin:0}dd{margin:0 0 .5em;\
    white-space:pre-wrap;overflow-wrap:anywhere}td{padding-right:2em}";

/// The page: the scores, and the examples with the lowest, the lowest first.
pub(super) fn worst(measured: &Measured<'_>) -> String {
    let report = &measured.report;
    let mut order: Vec<usize> = (0..report.scores.len()).collect();
    order.sort_by(|&a, &b| report.scores[a].total_cmp(&report.scores[b]));
    let metric = report.metric;
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{metric}</title>\
         <style>{STYLE}</style><h1>{metric} {:.4}</h1><table>",
        report.summary
    );
    for (name, value) in &report.figures {
        // Writing to a string cannot fail.
        let _ = write!(page, "<tr><td>{name}<td>{value:.4}");
    }
    let shown = order.len().min(WORST);
    let _ = writeln!(page, "</table><p>The {shown} worst of {} answers.", order.len());
    for at in order.into_iter().take(WORST) {
        let answer = &measured.answers[at].text;
        article(&mut page, at + 1, &measured.examples[at], answer, report.scores[at]);
    }
    page.push_str("</html>\n");
    page
}

fn article(page: &mut String, line: usize, example: &Example, answer: &str, score: f64) {
    page.push_str("<article>");
    for path in &example.images {
        figure(page, path, "", "");
    }
    // Things are drawn into the first picture, which answers are about.
    if let Some(path) = example.images.first() {
        for (title, text) in [("answer", answer), ("expected", &*example.suffix)] {
            if text.contains("<loc") {
                figure(page, path, title, text);
            }
        }
    }
    let references = example.references.join("\n");
    let _ = writeln!(
        page,
        "<dl><dt>line {line}<dd>{score:.4}<dt>prefix<dd>{}<dt>answer<dd>{}<dt>expected<dd>{}</dl>\
         </article>",
        escaped(&example.prefix),
        escaped(answer),
        escaped(&references)
    );
}

/// A picture with the things of a text drawn in, or why it is not there.
fn figure(page: &mut String, path: &Path, title: &str, things: &str) {
    let shown = thumbnail(path).and_then(|picture| {
        let (across, down) = (picture.width() as f32, picture.height() as f32);
        let found = parse_detections(things);
        let things: Vec<Thing<'_>> = found
            .iter()
            .map(|thing| Thing {
                label: &thing.label,
                confidence: None,
                edges: [thing.x0 * across, thing.y0 * down, thing.x1 * across, thing.y1 * down],
                mask: None,
            })
            .collect();
        encoded(draw(&picture, &things))
    });
    let _ = match shown {
        Ok(bytes) => write!(
            page,
            "<figure><img alt=\"\" src=\"data:image/jpeg;base64,{bytes}\"><figcaption>{title}</figcaption></figure>"
        ),
        Err(reason) => write!(page, "<figure>{}</figure>", escaped(&reason)),
    };
}

/// A small copy of a picture.
fn thumbnail(path: &Path) -> Result<RgbImage, String> {
    let picture = open_picture(path).map_err(|error| error.to_string())?;
    let small = DynamicImage::from(picture);
    let is_small = small.width() <= SIDE && small.height() <= SIDE;
    Ok(if is_small { small } else { small.thumbnail(SIDE, SIDE) }.to_rgb8())
}

fn encoded(picture: RgbImage) -> Result<String, String> {
    let mut bytes = Cursor::new(Vec::new());
    let written = DynamicImage::from(picture).write_to(&mut bytes, ImageFormat::Jpeg);
    written.map_err(|error| error.to_string())?;
    Ok(STANDARD.encode(bytes.get_ref()))
}

/// Text that no browser takes for markup.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_never_markup() {
        assert_eq!(escaped("a<b> & \"c\""), "a&lt;b&gt; &amp; &quot;c&quot;");
    }
}
