//! Tests against the tiny golden checkpoint: reading, refusing, loading, saving, fetching.

mod adapters;
mod config;
mod files;
mod finite;
mod formats;
#[cfg(feature = "hub")]
mod hub;
mod load;
mod masks;
mod npz;
mod packed;
mod published;
mod resolution;
mod save;
mod support;
