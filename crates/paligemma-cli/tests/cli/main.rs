//! The built program, run as a user runs it.

mod adapters;
mod answers;
mod bad_input;
mod batch;
mod checkpoints;
mod detect;
mod eval;
mod finetune;
mod formats;
#[cfg(feature = "hub")]
mod hub;
mod import;
mod info;
mod packed;
mod pages;
mod resolution;
mod retrieve;
mod segment;
mod several;
mod support;
mod verify;
mod watch;
