//! The built program, run as a user runs it.

mod answers;
mod bad_input;
mod checkpoints;
mod detect;
#[cfg(feature = "hub")]
mod hub;
mod info;
mod packed;
mod segment;
mod several;
mod retrieve;
mod support;
