//! `device-bundle`: one stripped conformance binary that needs a driver, NVRTC of CUDA 13.4 or newer (or
//! an older one and headers, README.md) and nothing else.

use std::fs;
use std::path::{Path, PathBuf};

use crate::workspace::{self, Result};

/// What the bundle must stay under, so that it travels to a machine with a GPU in one small file.
const LIMIT: u64 = 60 << 20;

/// The backends of the bundle, flex being on by default.
const FEATURES: &str = "paligemma-tests/cuda,paligemma-tests/wgpu";

/// Arguments of `device-bundle`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder that receives the binary, instead of target/device-bundle
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Builds the binary under the profile `dist`, checks its size and copies it.
///
/// # Errors
/// The build fails, the binary is too large, or the folder cannot be written.
pub(crate) fn run(args: &Args) -> Result {
    let mut build = workspace::cargo(["build", "--profile", "dist", "--package"]);
    build.args(["paligemma-tests", "--bin", "conformance", "--features", FEATURES]);
    workspace::run(&mut build)?;
    let folder = match &args.out {
        Some(folder) => folder.clone(),
        None => workspace::root().join("target").join("device-bundle"),
    };
    let (file, bytes) = bundle(&workspace::built("dist", "conformance")?, &folder, LIMIT)?;
    println!("{} {:.1} MiB", file.display(), mebibytes(bytes));
    println!("run it on the other machine with --device cuda:0,wgpu --require cuda:0");
    Ok(())
}

/// Copies `binary` into `folder` if it is under `limit` bytes; gives the copy and its size.
fn bundle(binary: &Path, folder: &Path, limit: u64) -> Result<(PathBuf, u64)> {
    let failed = |path: &Path, cause| format!("cannot bundle {}: {cause}", path.display());
    let bytes = fs::metadata(binary).map_err(|cause| failed(binary, cause))?.len();
    if bytes >= limit {
        return Err(format!(
            "{} has {:.1} MiB, which is not under {:.0} MiB: link less into it, or set \
             opt-level = \"s\" in [profile.dist]",
            binary.display(),
            mebibytes(bytes),
            mebibytes(limit)
        ));
    }
    fs::create_dir_all(folder).map_err(|cause| failed(folder, cause))?;
    let file = folder.join(binary.file_name().unwrap_or_default());
    fs::copy(binary, &file).map_err(|cause| failed(&file, cause))?;
    Ok((file, bytes))
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_binary_is_copied_and_a_large_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let binary = folder.path().join("conformance");
        fs::write(&binary, [7; 100]).unwrap();
        let out = folder.path().join("a").join("b");
        let message = bundle(&binary, &out, 100).unwrap_err();
        assert!(message.contains("not under"), "{message}");
        assert!(!out.exists(), "nothing is written for a binary that is too large");
        let (file, bytes) = bundle(&binary, &out, 101).unwrap();
        assert_eq!((fs::read(&file).unwrap().as_slice(), bytes), ([7; 100].as_slice(), 100));
    }

    #[test]
    fn a_missing_binary_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let message = bundle(&folder.path().join("nowhere"), folder.path(), 1).unwrap_err();
        assert!(message.contains("nowhere"), "{message}");
    }
}
