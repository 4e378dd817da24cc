//! How well the embedded model classifies, matches and finds scenes that it was never trained on:
//! the tables of docs/tasks.md.
//!
//! ```text
//! cargo run --release -p paligemma-pocket --example retrieval
//! ```

use paligemma::{Classify, DeviceSpec, Dtype, Error, PaliGemma, Scene as Seen};
use paligemma_pocket::{Colour, FIRST_HELD_OUT_SEED, Scene, Shape, Size, task};

/// Scenes of one thing.
const SCENES: u64 = 100;

/// Texts to choose from, the right one included.
const TEXTS: usize = 10;

/// A scene, what the model saw, and its true caption.
struct Case {
    scene: Scene,
    seen: Seen,
    caption: String,
}

fn main() -> Result<(), Error> {
    let model = PaliGemma::pocket(DeviceSpec::Auto, Dtype::F32)?;
    let case = |seed| {
        let scene = Scene::generate(seed, 1..=1);
        let seen = model.encode(&[scene.render()]);
        Case { seen, caption: task::caption(&scene).suffix, scene }
    };
    let cases: Vec<Case> = (FIRST_HELD_OUT_SEED..FIRST_HELD_OUT_SEED + SCENES).map(case).collect();
    classification(&model, &cases)?;
    println!();
    matching(&model, &cases)
}

/// What is asked of a case: the prompt, the labels and the right one of them.
type Question = (&'static str, fn(&Case) -> (String, Vec<String>, String));

const QUESTIONS: [Question; 7] = [
    ("`answer en what shape is the <colour> thing?`, 5 shapes", |case| {
        let thing = &case.scene.things[0];
        let prompt = format!("answer en what shape is the {} thing?", thing.colour.name());
        (prompt, shapes(), thing.shape.name().into())
    }),
    ("`answer en what color is the <shape>?`, 8 colours", |case| {
        let thing = &case.scene.things[0];
        let prompt = format!("answer en what color is the {}?", thing.shape.name());
        let colours = Colour::ALL.map(|colour| colour.name().to_owned());
        (prompt, colours.to_vec(), thing.colour.name().into())
    }),
    ("`answer en what is this?` (never trained on), 5 shapes", |case| {
        let prompt = Classify::default().template;
        (prompt, shapes(), case.scene.things[0].shape.name().into())
    }),
    ("`answer en what is this?`, 8 colours", |case| {
        let colours = Colour::ALL.map(|colour| colour.name().to_owned());
        let prompt = Classify::default().template;
        (prompt, colours.to_vec(), case.scene.things[0].colour.name().into())
    }),
    ("`answer en what is this?`, 40 of both", |case| {
        (Classify::default().template, kinds(), case.scene.things[0].label())
    }),
    ("`answer en what is there?` (never trained on), 40 of both", |case| {
        ("answer en what is there?".into(), kinds(), case.scene.things[0].label())
    }),
    ("`caption en`, 80 captions", |case| ("caption en".into(), captions(), case.caption.clone())),
];

fn shapes() -> Vec<String> {
    Shape::ALL.map(|shape| shape.name().to_owned()).to_vec()
}

/// Every colour of every shape.
fn kinds() -> Vec<String> {
    let kinds = Colour::ALL.into_iter().flat_map(|c| Shape::ALL.map(|shape| (c, shape)));
    kinds.map(|(colour, shape)| format!("{} {}", colour.name(), shape.name())).collect()
}

/// Every caption of one thing.
fn captions() -> Vec<String> {
    let kinds = Colour::ALL.into_iter().flat_map(|c| Shape::ALL.map(|shape| (c, shape)));
    let kinds = kinds.flat_map(|kind| [Size::Small, Size::Large].map(|size| (size, kind)));
    let caption = |(size, (colour, shape)): (Size, (Colour, Shape))| {
        format!("a {} {} {}", size.name(), colour.name(), shape.name())
    };
    kinds.map(caption).collect()
}

fn classification(model: &PaliGemma, cases: &[Case]) -> Result<(), Error> {
    println!("| Template and labels | plain | `--normalise` | `--calibrated` | both |");
    println!("|---|---|---|---|---|");
    for (name, question) in QUESTIONS {
        print!("| {name} |");
        for (normalised, calibrated) in [(false, false), (true, false), (false, true), (true, true)]
        {
            let mut right = 0;
            for case in cases {
                let (template, labels, truth) = question(case);
                let how = Classify { template, normalised, calibrated };
                right += usize::from(model.classify(&case.seen, &labels, &how)?[0].text == truth);
            }
            print!(" {:.2} |", right as f32 / cases.len() as f32);
        }
        println!();
    }
    Ok(())
}

/// Each caption among those of the cases after it, and each picture among those of other captions.
fn matching(model: &PaliGemma, cases: &[Case]) -> Result<(), Error> {
    let (mut texts, mut pictures, mut likely) = (0, 0, 0);
    for (i, case) in cases.iter().enumerate() {
        let mut others: Vec<&Case> = vec![case];
        for other in cases.iter().cycle().skip(i + 1).take(cases.len() - 1) {
            if others.len() < TEXTS && others.iter().all(|o| o.caption != other.caption) {
                others.push(other);
            }
        }
        let captions: Vec<&str> = others.iter().map(|other| other.caption.as_str()).collect();
        texts += usize::from(model.rank_texts(&case.seen, &captions)?[0].text == case.caption);
        let plain = Classify { template: "caption en".into(), ..Classify::default() };
        likely +=
            usize::from(model.classify(&case.seen, &captions, &plain)?[0].text == case.caption);
        let seen: Vec<Seen> = others.iter().map(|other| other.seen.clone()).collect();
        pictures += usize::from(model.rank_pictures(&seen, &case.caption)?[0].0 == 0);
    }
    let share = |right: usize| right as f32 / cases.len() as f32;
    println!("| First of {TEXTS} | right |");
    println!("|---|---|");
    println!("| texts for a picture, by score | {:.2} |", share(texts));
    println!("| texts for a picture, by likelihood alone | {:.2} |", share(likely));
    println!("| pictures for a text | {:.2} |", share(pictures));
    Ok(())
}
