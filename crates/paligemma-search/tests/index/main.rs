//! Indexes of drawn scenes: made, brought up to date, interrupted, searched, and damaged.

mod damage;
mod search;
mod support;
mod update;
