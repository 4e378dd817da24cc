//! `cargo bench -p paligemma-benches`: every stage of an answer by itself.
//!
//! `PALIGEMMA_BENCH_MODEL` names a checkpoint's folder (`cargo xtask random-checkpoint`); the
//! embedded model is measured without it. `PALIGEMMA_BENCH_DTYPE` is the format of the weights.

use std::env;
use std::path::PathBuf;
use std::sync::LazyLock;

use burn_flex::{Flex, FlexDevice};
use divan::{Bencher, black_box, counter::ItemsCount};
use paligemma::{DeviceSpec, Dtype};
use paligemma_benches::subject::{self, ROWS, Subject};
use paligemma_processor::preprocess;

static SUBJECT: LazyLock<Subject<Flex>> = LazyLock::new(open);

/// Opens what the environment names.
#[allow(clippy::expect_used, reason = "a bench has nobody to hand an error to")]
fn open() -> Subject<Flex> {
    let folder = env::var_os("PALIGEMMA_BENCH_MODEL").map(PathBuf::from);
    let dtype = env::var("PALIGEMMA_BENCH_DTYPE").unwrap_or_else(|_| "f32".to_owned());
    let dtype: Dtype = dtype.parse().expect("a format of weights");
    let storage = dtype.on(DeviceSpec::Flex).expect("a format that the CPU has");
    subject::open(folder.as_deref(), storage, FlexDevice).expect("the model must open")
}

fn main() {
    paligemma::keep_freed_memory();
    // Threads that were started before are as good.
    paligemma::compute_here(None).ok();
    divan::main();
}

/// A photo's way to the pixels of the smallest published model.
#[divan::bench(max_time = 5)]
fn preprocess_photo(bencher: Bencher<'_, '_>) {
    let photo = subject::picture(1024, 768);
    bencher.bench_local(|| preprocess(black_box(&photo), 224));
}

#[divan::bench(sample_count = 5, sample_size = 1)]
fn load() -> Subject<Flex> {
    open()
}

#[divan::bench(sample_count = 20, sample_size = 1, max_time = 20)]
fn vision(bencher: Bencher<'_, '_>) {
    let subject = &*SUBJECT;
    bencher.bench_local(|| subject.encode());
}

#[divan::bench(sample_count = 20, sample_size = 1, max_time = 30)]
fn prefill(bencher: Bencher<'_, '_>) {
    let subject = &*SUBJECT;
    let features = subject.encode();
    bencher.bench_local(|| subject.prefill(&features, 1).logits());
}

/// One token after the prompt.
#[divan::bench(sample_count = 50, sample_size = 1, max_time = 20)]
fn decode(bencher: Bencher<'_, '_>) {
    advance(bencher, 1);
}

/// One token of each of eight rows after the prompt.
#[divan::bench(sample_count = 50, sample_size = 1, max_time = 20)]
fn decode_batch(bencher: Bencher<'_, '_>) {
    advance(bencher, ROWS);
}

fn advance(bencher: Bencher<'_, '_>, rows: usize) {
    let subject = &*SUBJECT;
    let prompt = subject.prefill(&subject.encode(), 1);
    let tokens: Vec<u32> = (0..rows as u32).map(|row| 20 + row).collect();
    bencher.with_inputs(|| prompt.fork(rows)).counter(ItemsCount::new(rows)).bench_local_refs(
        |session| {
            session.advance(&tokens);
            session.logits()
        },
    );
}
