//! Where the GPU runtimes keep what they compiled and what they measured of it, so that only the
//! first process of a machine compiles.
//!
//! The runtimes' own choice is to compile in every process, and to keep measurements in a `target`
//! folder of whatever project the current folder is in.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use cubecl::config::cache::CacheConfig;
use cubecl::config::{CubeClRuntimeConfig, RuntimeConfig};

/// Has the runtimes keep kernels in the user's cache folder, unless the program or a `cubecl.toml`
/// says otherwise. It counts if no runtime has started yet.
pub(crate) fn keep() {
    let mut config = CubeClRuntimeConfig::storage().lock();
    if config.is_none() {
        let found = CubeClRuntimeConfig::from_current_dir().override_from_env();
        *config = Some(kept_in(folder(), found).into());
    }
}

/// Whether kernels of CUDA are still to be compiled on this machine.
#[cfg(feature = "cuda")]
pub(crate) fn cuda_is_new() -> bool {
    folder().is_none_or(|folder| !folder.join("cuda").is_dir())
}

fn kept_in(folder: Option<&Path>, mut config: CubeClRuntimeConfig) -> CubeClRuntimeConfig {
    if let Some(folder) = folder {
        let file = || CacheConfig::File(folder.to_owned());
        if matches!(config.autotune.cache, CacheConfig::Target) {
            config.autotune.cache = file();
        }
        config.compilation.cache.get_or_insert_with(file);
    }
    config
}

/// The folder, if there is a place for it that can be written to: the runtimes panic where not.
fn folder() -> Option<&'static Path> {
    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    let find = || writable(dirs::cache_dir()?.join("paligemma").join("kernels").join(machine()?));
    FOLDER.get_or_init(find).as_deref()
}

/// What compiled kernels depend on beside the runtime's version.
fn machine() -> Option<String> {
    #[cfg(feature = "cuda")]
    if crate::DeviceSpec::Cuda(0).resolve().is_ok() {
        return crate::cuda::architecture();
    }
    Some("wgpu".to_owned())
}

/// A folder, made if need be, if files can be written into it.
pub(crate) fn writable(folder: PathBuf) -> Option<PathBuf> {
    fs::create_dir_all(&folder).ok()?;
    let probe = folder.join(format!("probe-{}", std::process::id()));
    File::create(&probe).ok()?;
    fs::remove_file(probe).ok()?;
    Some(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(config: &CacheConfig) -> Option<&Path> {
        match config {
            CacheConfig::File(path) => Some(path),
            _ => None,
        }
    }

    #[test]
    fn both_caches_are_in_the_folder() {
        let config = kept_in(Some(Path::new("kernels")), CubeClRuntimeConfig::default());
        assert_eq!(file(&config.autotune.cache), Some(Path::new("kernels")));
        assert_eq!(config.compilation.cache.as_ref().and_then(file), Some(Path::new("kernels")));
    }

    #[test]
    fn what_the_user_chose_stays() {
        let mut own = CubeClRuntimeConfig::default();
        own.autotune.cache = CacheConfig::Local;
        own.compilation.cache = Some(CacheConfig::Global);
        let config = kept_in(Some(Path::new("kernels")), own);
        assert!(matches!(config.autotune.cache, CacheConfig::Local));
        assert!(matches!(config.compilation.cache, Some(CacheConfig::Global)));
    }

    #[test]
    fn without_a_folder_nothing_is_kept() {
        let config = kept_in(None, CubeClRuntimeConfig::default());
        assert!(config.compilation.cache.is_none());
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let occupied = folder.path().join("file");
        fs::write(&occupied, []).unwrap();
        assert_eq!(writable(occupied.join("kernels")), None);
        let free = folder.path().join("kernels");
        assert_eq!(writable(free.clone()), Some(free.clone()));
        assert_eq!(fs::read_dir(free).unwrap().count(), 0, "the probe was left behind");
    }
}
