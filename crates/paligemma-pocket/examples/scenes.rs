//! Writes a sheet of scenes as a PNG to the path given and prints what each of them says.

use std::hint::black_box;
use std::time::Instant;

use image::{RgbImage, imageops};
use paligemma_pocket::{Scene, patches, task};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

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
    time_generation();
    Ok(())
}

/// Prints how long each part of making one scene takes.
fn time_generation() {
    let count = 5000;
    let clock = |what: &str, work: &mut dyn FnMut(u64)| {
        let start = Instant::now();
        (0..count).for_each(work);
        let each = start.elapsed().as_secs_f64() * 1e6 / count as f64;
        println!("{what}: {each:.1} microseconds a scene");
    };
    let scenes: Vec<Scene> = (0..count).map(|seed| Scene::generate(seed, 1..=4)).collect();
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    clock("generate", &mut |seed| drop(black_box(Scene::generate(seed, 1..=4))));
    clock("render", &mut |seed| drop(black_box(scenes[seed as usize].render()));
    clock("examples", &mut |seed| drop(black_box(task::examples(&scenes[seed as usize], &mut rng)));
    clock("patches", &mut |seed| drop(black_box(patches::patch_targets(&scenes[seed as usize], 14)));
}
