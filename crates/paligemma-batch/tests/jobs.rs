//! Jobs with an answerer that needs no model: order, interrupts, bad rows, tables.

use std::cell::RefCell;
use std::fs;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use paligemma::image::{Rgb, RgbImage};
use paligemma::{Answer, DetectedBox, Error, FinishReason, Options, Usage};
use parquet::file::reader::{FileReader, SerializedFileReader};
use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

use paligemma_batch::{
    Answers, BatchError, Job, Output, Question, RowsError, Shard, Summary, rows, run,
};

/// Says what it sees, and keeps how many rows it was given at a time.
#[derive(Default)]
struct Fake {
    batches: RefCell<Vec<usize>>,
}

impl Answers for Fake {
    fn picture_side(&self) -> usize {
        2
    }

    fn answers(&self, questions: &[Question], _: Options) -> Vec<Result<Answer, Error>> {
        self.batches.borrow_mut().push(questions.len());
        let answer = |question: &Question| {
            if question.prompt == "refuse" {
                return Err(Error::PromptTooLong { tokens: 9, limit: 3 });
            }
            let shades: Vec<u32> = question
                .pictures
                .iter()
                .map(|picture| u32::from(picture.get_pixel(0, 0)[0]))
                .collect();
            Ok(Answer {
                text: format!("{} é \"{shades:?}\"\n", question.prompt),
                token_ids: shades.into_iter().filter(|&shade| shade != 40).collect(),
                log_probabilities: Vec::new(),
                end_log_probability: None,
                finish_reason: FinishReason::Stop,
                usage: Usage::default(),
            })
        };
        questions.iter().map(answer).collect()
    }

    /// A dark picture is a thing from its middle on.
    fn boxes(&self, answer: &Answer, (width, height): (u32, u32)) -> Vec<DetectedBox> {
        if answer.token_ids != [10] {
            return Vec::new();
        }
        let [x1, y1] = [width, height].map(|side| side as f32);
        let label = "night".to_owned();
        vec![DetectedBox { label, x0: x1 / 2.0, y0: y1 / 2.0, x1, y1, confidence: 0.25 }]
    }
}

/// A folder with pictures in shades of grey, and files of rows.
struct Desk(TempDir);

impl Desk {
    fn new() -> Self {
        let desk = Self(TempDir::new().unwrap());
        for shade in [10u8, 20, 30, 40] {
            let picture = RgbImage::from_pixel(6, 4, Rgb([shade; 3]));
            picture.save(desk.path(&format!("{shade}.png"))).unwrap();
        }
        fs::write(desk.path("bad.png"), "no picture").unwrap();
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn job(&self) -> Job {
        let lines = [
            json!({"image": "10.png"}),
            json!({"image": "bad.png", "id": "broken"}),
            json!({"images": ["20.png", "30.png"], "prompt": "compare", "label": 3}),
            json!({"image": "30.png", "prompt": "refuse", "id": 77}),
            json!({"image": "40.png"}),
            json!({"image": "missing.png"}),
            json!({"image": "20.png"}),
        ];
        self.write_rows(&lines);
        self.read_rows(Some("say")).unwrap()
    }

    fn write_rows(&self, lines: &[Value]) {
        let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
        fs::write(self.path("rows.jsonl"), lines.join("\n")).unwrap();
    }

    fn read_rows(&self, prompt: Option<&str>) -> Result<Job, RowsError> {
        let rows = rows(self.path("rows.jsonl").to_str().unwrap(), prompt)?;
        Ok(Job { rows, model: "fake".to_owned(), options: Options::default() })
    }
}

fn create(path: &Path, job: &Job, batch: usize) -> Result<Summary, BatchError> {
    run(&Fake::default(), job, &Output::create(path)?, batch, |_| ControlFlow::Continue(()))
}

fn resume(path: &Path, job: &Job, batch: usize) -> Result<Summary, BatchError> {
    run(&Fake::default(), job, &Output::resume(path, job)?, batch, |_| ControlFlow::Continue(()))
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn results_are_in_order_and_bad_rows_say_why() {
    let desk = Desk::new();
    let (job, out) = (desk.job(), desk.path("out.jsonl"));
    let summary = create(&out, &job, 3).unwrap();
    assert_eq!(summary, Summary { rows: 7, done: 7, failed: 3 });
    let results = lines(&out);
    let ids: Vec<&str> = results.iter().map(|row| row["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["1", "broken", "3", "77", "5", "6", "7"]);
    assert_eq!(
        results[2],
        json!({"id": "3", "images": ["20.png", "30.png"], "prompt": "compare",
               "text": "compare é \"[20, 30]\"\n", "token_ids": [20, 30], "finish_reason": "stop"})
    );
    assert_eq!(
        results[0],
        json!({"id": "1", "image": "10.png", "width": 6, "height": 4, "prompt": "say",
               "text": "say é \"[10]\"\n", "token_ids": [10], "finish_reason": "stop",
               "boxes": [{"label": "night", "x0": 3.0, "y0": 2.0, "x1": 6.0, "y1": 4.0,
                          "confidence": 0.25}]})
    );
    assert!(results[4].get("boxes").is_none() && results[4]["width"] == 6);
    let error = |row: usize| results[row]["error"].as_str().unwrap();
    assert!(error(1).contains("bad.png") && error(1).contains("not a picture"));
    assert!(error(3).contains("the prompt has 9 tokens"));
    assert!(error(5).contains("cannot read the picture"));
    let mut keys: Vec<&String> = results[1].as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(keys, ["error", "id", "image", "prompt"]);
}

#[test]
fn rows_are_answered_together() {
    let desk = Desk::new();
    let (job, fake) = (desk.job(), Fake::default());
    let mut told = Vec::new();
    let output = Output::create(&desk.path("out.jsonl")).unwrap();
    run(&fake, &job, &output, 3, |summary| {
        told.push(summary.done);
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(told, [0, 3, 6, 7]);
    // Pictures that cannot be read are left out.
    assert_eq!(*fake.batches.borrow(), [2, 2, 1]);
}

#[test]
fn a_file_cut_anywhere_is_made_whole() {
    let desk = Desk::new();
    let (job, out) = (desk.job(), desk.path("out.jsonl"));
    create(&out, &job, 2).unwrap();
    let whole = fs::read(&out).unwrap();
    for cut in 0..=whole.len() {
        fs::write(&out, &whole[..cut]).unwrap();
        let summary = resume(&out, &job, 2).unwrap();
        assert_eq!(summary, Summary { rows: 7, done: 7, failed: 3 }, "cut at {cut}");
        assert!(fs::read(&out).unwrap() == whole, "cut at {cut}");
    }
}

#[test]
fn a_job_that_breaks_off_is_gone_on_with() {
    let desk = Desk::new();
    let job = desk.job();
    create(&desk.path("whole.parquet"), &job, 1).unwrap();
    let out = desk.path("out.parquet");
    for breaks_at in [0, 1, 3, 6] {
        let output = Output::resume(&out, &job).unwrap();
        let summary = run(&Fake::default(), &job, &output, 1, |summary| {
            assert!(!out.exists(), "the table is made at the end");
            if summary.done >= breaks_at {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        assert_eq!(summary.unwrap().done, breaks_at);
    }
    resume(&out, &job, 1).unwrap();
    for ending in ["", ".jsonl"] {
        let read = |name: &str| fs::read(desk.path(&format!("{name}.parquet{ending}"))).unwrap();
        assert!(read("out") == read("whole"), "{ending}");
    }
    // All is done: only the row that was refused is tried again; two pictures still cannot be read.
    let fake = Fake::default();
    let output = Output::resume(&out, &job).unwrap();
    run(&fake, &job, &output, 1, |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(*fake.batches.borrow(), [1]);
}

#[test]
fn rows_without_an_answer_are_tried_again_in_their_places() {
    let desk = Desk::new();
    let job = desk.job();
    // What it would be if nothing had been wrong.
    let mended = |desk: &Desk| {
        for name in ["bad.png", "missing.png"] {
            fs::copy(desk.path("40.png"), desk.path(name)).unwrap();
        }
    };
    for batch in [1, 2, 3, 7] {
        let desk = Desk::new();
        let (job, whole, out) = (desk.job(), desk.path("whole.jsonl"), desk.path("out.jsonl"));
        // Broken off after the second picture that is missing, before the last row.
        let output = Output::create(&out).unwrap();
        let stop = |at: usize| {
            move |summary: Summary| {
                if summary.done >= at { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            }
        };
        run(&Fake::default(), &job, &output, batch, stop(6)).unwrap();
        mended(&desk);
        let mut told = Vec::new();
        let output = Output::resume(&out, &job).unwrap();
        let summary = run(&Fake::default(), &job, &output, batch, |summary| {
            told.push(summary.done);
            ControlFlow::Continue(())
        });
        assert_eq!(summary.unwrap(), Summary { rows: 7, done: 7, failed: 1 });
        assert!(told.is_sorted() && told[0] <= 4, "{told:?}");
        create(&whole, &job, batch).unwrap();
        assert_eq!(lines(&out), lines(&whole));
        assert_eq!(fs::read(&out).unwrap(), fs::read(&whole).unwrap());
    }
    // Broken off between them: what was tried is kept, the others are tried the next time.
    let out = desk.path("out.jsonl");
    create(&out, &job, 2).unwrap();
    mended(&desk);
    let output = Output::resume(&out, &job).unwrap();
    let summary = run(&Fake::default(), &job, &output, 1, |summary| {
        if summary.done == 5 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert_eq!(summary.unwrap(), Summary { rows: 7, done: 5, failed: 0 });
    let errors = |path: &Path| {
        let rows = lines(path).into_iter();
        rows.map(|row| row.get("error").is_some()).collect::<Vec<_>>()
    };
    assert_eq!(errors(&out), [false, false, false, true, false, true, false]);
    assert_eq!(resume(&out, &job, 2).unwrap(), Summary { rows: 7, done: 7, failed: 1 });
    assert_eq!(errors(&out), [false, false, false, true, false, false, false]);
    let mut left = fs::read_dir(desk.0.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(left.all(|name| !paligemma_files::is_unfinished(&name)));
}

#[test]
fn what_was_tried_again_outlives_a_kill() {
    let desk = Desk::new();
    let rows: Vec<Value> = (0..16).map(|id| json!({"image": "late.png", "id": id})).collect();
    desk.write_rows(&rows);
    let (job, out) = (desk.read_rows(Some("say")).unwrap(), desk.path("out.jsonl"));
    create(&out, &job, 1).unwrap();
    fs::copy(desk.path("40.png"), desk.path("late.png")).unwrap();
    let output = Output::resume(&out, &job).unwrap();
    // A panic: after a break it would put right all that it holds.
    let kill = |summary: Summary| {
        assert!(summary.done < 5, "killed here");
        ControlFlow::Continue(())
    };
    let killed = AssertUnwindSafe(|| run(&Fake::default(), &job, &output, 1, kill));
    assert!(catch_unwind(killed).is_err());
    let answered = lines(&out).iter().filter(|row| row.get("error").is_none()).count();
    assert_eq!(answered, 4, "two of sixteen at a time");
    assert_eq!(resume(&out, &job, 1).unwrap(), Summary { rows: 16, done: 16, failed: 0 });
}

#[test]
fn what_cannot_be_written_or_gone_on_with_is_said_at_once() {
    let desk = Desk::new();
    let nowhere = Output::create(&desk.path("no/such/out.jsonl")).unwrap_err();
    assert!(nowhere.to_string().contains("no such folder"), "{nowhere}");
    let table = desk.path("out.parquet");
    fs::write(&table, "").unwrap();
    let lost = Output::resume(&table, &desk.job()).unwrap_err();
    assert!(lost.to_string().contains("out.parquet.jsonl is missing"), "{lost}");
}

#[test]
fn results_of_something_else_are_refused() {
    let desk = Desk::new();
    let (job, out) = (desk.job(), desk.path("out.jsonl"));
    create(&out, &job, 2).unwrap();
    assert!(matches!(create(&out, &job, 2), Err(BatchError::Exists { .. })));
    let other = |change: fn(&mut Job)| {
        let mut other = job.clone();
        change(&mut other);
        match resume(&out, &other, 2) {
            Err(BatchError::OtherJob { what, .. }) => what,
            unexpected => panic!("{unexpected:?}"),
        }
    };
    assert!(other(|job| job.model.push('2')).contains("--model"));
    assert!(other(|job| job.options.seed = 1).contains("seed"));
    assert!(other(|job| job.options.num_beams = 4).contains("beams"));
    assert!(other(|job| job.rows[2].prompt.push('!')).contains("prompts"));
    // The same name in another folder is another picture.
    let elsewhere = |job: &mut Job| job.rows[0].images[0].path = "elsewhere/10.png".into();
    assert!(other(elsewhere).contains("pictures"));
    assert!(other(|job| job.rows.swap(0, 1)).contains("rows"));
    assert!(other(|job| drop(job.rows.pop())).contains("--shard"));
    let whole = fs::read_to_string(&out).unwrap();
    for (damaged, line) in [
        (whole.replacen('{', "[", 1), 1),
        (whole.replacen("broken", "mended", 1), 2),
        (format!("{whole}{{\"id\":\"8\",\"prompt\":\"\"}}\n"), 8),
    ] {
        fs::write(&out, &damaged).unwrap();
        let refused = resume(&out, &job, 2);
        assert!(
            matches!(refused, Err(BatchError::Damaged { line: l, .. }) if l == line),
            "{refused:?}"
        );
        assert_eq!(fs::read_to_string(&out).unwrap(), damaged, "what is refused is left as it is");
    }
    fs::remove_file(desk.path("out.jsonl.job")).unwrap();
    assert!(matches!(resume(&out, &job, 2), Err(BatchError::Unknown { .. })));
    assert!(matches!(Output::create("a.csv".as_ref()), Err(BatchError::OutputName { .. })));
}

#[test]
fn results_have_one_writer() {
    let desk = Desk::new();
    let (job, out) = (desk.job(), desk.path("out.jsonl"));
    create(&out, &job, 2).unwrap();
    let other = fs::File::open(&out).unwrap();
    other.lock().unwrap();
    assert!(matches!(resume(&out, &job, 2), Err(BatchError::Locked { .. })));
    other.unlock().unwrap();
    assert_eq!(resume(&out, &job, 2).unwrap().done, 7);
}

#[test]
fn a_table_holds_what_the_lines_hold() {
    let desk = Desk::new();
    let out = desk.path("out.parquet");
    create(&out, &desk.job(), 4).unwrap();
    let reader = SerializedFileReader::new(fs::File::open(&out).unwrap()).unwrap();
    let table: Vec<Vec<String>> = reader
        .get_row_iter(None)
        .unwrap()
        .map(|row| row.unwrap().get_column_iter().map(|(_, field)| field.to_string()).collect())
        .collect();
    let results = lines(&desk.path("out.parquet.jsonl"));
    assert_eq!(table.len(), results.len());
    for (row, line) in table.iter().zip(&results) {
        // Fields print as JSON does, but for the space after a comma and escapes in texts.
        let text = |name: &str| match &line[name] {
            Value::Null => "null".to_owned(),
            Value::String(text) => format!("\"{text}\""),
            list => list.to_string().replace(',', ", "),
        };
        let images = match &line["images"] {
            Value::Null => format!("[{}]", text("image")),
            _ => text("images"),
        };
        let others = ["width", "height", "prompt", "text", "token_ids", "finish_reason"].map(text);
        assert_eq!(row[..8], [vec![text("id"), images], others.to_vec()].concat());
        assert_eq!(row[9], text("error"));
        let boxes = line["boxes"].as_array().map(|boxes| {
            let field = |found: &Value, name: &str| format!("{name}: {}", found[name]);
            let names = ["label", "x0", "y0", "x1", "y1", "confidence"];
            let fields = |found: &Value| names.map(|name| field(found, name)).join(", ");
            let all: Vec<String> = boxes.iter().map(|b| format!("{{{}}}", fields(b))).collect();
            format!("[{}]", all.join(", "))
        });
        assert_eq!(row[8], boxes.unwrap_or_else(|| "null".to_owned()));
    }
    // An empty list is not a missing one.
    assert_eq!((table[4][6].as_str(), table[5][6].as_str()), ("[]", "null"));
    assert!(table[0][8].contains("night") && table[4][8] == "null");
}

#[test]
fn rows_come_from_folders_and_patterns() {
    let desk = Desk::new();
    fs::create_dir_all(desk.path("in/2/x")).unwrap();
    fs::create_dir_all(desk.path("in/.git")).unwrap();
    for name in ["in/10.png", "in/9.jpg", "in/2/x/b.PNG", "in/.a.png", "in/.git/a.png", "in/a.txt"]
    {
        fs::write(desk.path(name), "").unwrap();
    }
    let listed = |source: &str| {
        let source = desk.path(source).to_str().unwrap().to_owned();
        let list = rows(&source, Some("p"));
        list.map(|rows| rows.into_iter().map(|row| row.id).collect::<Vec<_>>())
    };
    assert_eq!(listed("in").unwrap(), ["2/x/b.PNG", "9.jpg", "10.png"]);
    let full = |name: &str| desk.path(name).to_str().unwrap().to_owned();
    assert_eq!(listed("in/*.png").unwrap(), [full("in/.a.png"), full("in/10.png")]);
    assert_eq!(listed("10.png").unwrap(), [full("10.png")]);
    for name in ["scan[1].png", "scan1.png"] {
        fs::write(desk.path(name), "").unwrap();
    }
    assert_eq!(listed("scan[1].png").unwrap(), [full("scan[1].png")]);
    assert_eq!(listed("scan[12].png").unwrap(), [full("scan1.png")]);
    assert!(matches!(listed("*.tiff"), Err(RowsError::Nothing { .. })));
    assert!(matches!(listed("[.png"), Err(RowsError::Pattern { .. })));
    assert!(matches!(listed("no.jsonl"), Err(RowsError::Read { .. })));
}

#[test]
#[cfg(unix)]
fn what_leads_nowhere_is_a_row_with_an_error() {
    let desk = Desk::new();
    std::os::unix::fs::symlink(desk.path("gone"), desk.path("15.png")).unwrap();
    for (number, source) in [desk.path(""), desk.path("*.png")].into_iter().enumerate() {
        let rows = rows(source.to_str().unwrap(), Some("say")).unwrap();
        let job = Job { rows, model: "fake".to_owned(), options: Options::default() };
        let out = desk.path(&format!("{number}.jsonl"));
        // The link, and the picture that is none.
        assert_eq!(create(&out, &job, 3).unwrap(), Summary { rows: 6, done: 6, failed: 2 });
        let results = lines(&out);
        assert!(results[1]["id"].as_str().unwrap().ends_with("15.png"));
        assert!(results[1]["error"].as_str().unwrap().contains("cannot read the picture"));
        assert_eq!(results[2]["text"], "say é \"[20]\"\n");
    }
}

#[test]
fn rows_that_are_none_are_named() {
    let desk = Desk::new();
    for line in [
        json!({"prompt": "p"}),
        json!({"image": "a", "images": ["b"]}),
        json!({"images": []}),
        json!({"image": 3}),
        json!([]),
    ] {
        desk.write_rows(&[json!({"image": "a"}), line]);
        let refused = desk.read_rows(Some("p"));
        assert!(matches!(refused, Err(RowsError::Line { line: 2, .. })), "{refused:?}");
    }
    desk.write_rows(&[json!({"image": "a", "prompt": "p"}), json!({"image": "b"})]);
    assert!(matches!(desk.read_rows(None), Err(RowsError::NoPrompt { id }) if id == "2"));
    desk.write_rows(&[json!({"image": "a", "id": "2"}), json!({"image": "b"})]);
    assert!(matches!(desk.read_rows(Some("p")), Err(RowsError::SameId { id }) if id == "2"));
    desk.write_rows(&[]);
    assert!(matches!(desk.read_rows(Some("p")), Err(RowsError::Nothing { .. })));
}

#[test]
fn parts_that_are_none_are_refused() {
    for text in ["", "1", "0/2", "3/2", "1/0", "a/2", "1/2/3", "-1/2"] {
        assert!(text.parse::<Shard>().is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn parts_share_all_rows(length in 0usize..200, count in 1usize..20) {
        let rows: Vec<usize> = (0..length).collect();
        let part = |index| format!("{index}/{count}").parse::<Shard>().unwrap().of(rows.clone());
        let parts: Vec<Vec<usize>> = (1..=count).map(part).collect();
        let sizes: Vec<usize> = parts.iter().map(Vec::len).collect();
        prop_assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1);
        for part in &parts {
            prop_assert!(part.windows(2).all(|pair| pair[0] < pair[1]));
        }
        let mut all = parts.concat();
        all.sort_unstable();
        prop_assert_eq!(all, rows);
    }
}
