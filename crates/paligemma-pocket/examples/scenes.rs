//! Writes a sheet of scenes as a PNG to the path given and prints what each of them says.

use image::{RgbImage, imageops};
use paligemma_pocket::{Scene, task};

const COLUMNS: u32 = 8;
const ROWS: u32 = 6;
const PITCH: u32 = 116;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: scenes SHEET.png")?;
    let mut sheet = RgbImage::from_pixel(COLUMNS * PITCH, ROWS * PITCH, image::Rgb([255; 3]));
    for index in 0..COLUMNS * ROWS {
        let scene = Scene::generate(u64::from(index), 1..=4);
        let (x, y) = (index % COLUMNS * PITCH, index / COLUMNS * PITCH);
        imageops::replace(&mut sheet, &scene.render(), i64::from(x), i64::from(y));
        println!("row {} column {}", index / COLUMNS + 1, index % COLUMNS + 1);
        for example in task::evaluation_examples(&scene) {
            println!("  {} -> {}", example.prefix, example.suffix);
        }
    }
    sheet.save(&path)?;
    Ok(())
}
