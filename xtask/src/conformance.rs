//! `conformance`: builds the conformance binary with every backend and runs it on the devices.

use std::path::PathBuf;
use std::process::Command;

use crate::workspace::{self, Result};

/// The devices that any machine can offer, wgpu by software Vulkan where there is no GPU.
pub(crate) const DEVICES: &str = "flex,ndarray,wgpu";

/// Arguments of `conformance`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Devices to compare with the references, with commas between
    #[arg(long, value_name = "LIST", default_value = DEVICES)]
    device: String,
    /// Devices of which none may be skipped
    #[arg(long, value_name = "LIST")]
    require: Option<String>,
    /// Formats to compute in, with commas between; all of them if none is named
    #[arg(long, value_name = "LIST")]
    dtype: Option<String>,
}

impl Args {
    /// All devices in f32, of which none of `required` may be skipped. The 16-bit columns would
    /// double the time on a software GPU.
    pub(crate) fn required(required: &str) -> Self {
        let [require, dtype] = [required, "f32"].map(|word| Some(word.to_owned()));
        Self { device: DEVICES.to_owned(), require, dtype }
    }

    /// The verb as one would type it.
    pub(crate) fn shown(&self) -> String {
        let require = self.require.iter().map(|list| format!(" --require {list}"));
        let dtype = self.dtype.iter().map(|list| format!(" --dtype {list}"));
        format!("conformance --device {}{}", self.device, require.chain(dtype).collect::<String>())
    }
}

/// Builds, then runs.
///
/// # Errors
/// The build fails, a case is outside its tolerance, or a required device is not there.
pub(crate) fn run(args: &Args) -> Result {
    // Not `cargo run --package`: picking one package resolves features anew, and the backends
    // would be compiled once more beside those of the tests.
    let mut build = workspace::cargo_workspace("build");
    workspace::run(build.args(["--bin", "conformance", workspace::WITH_DEV]))?;
    workspace::run(&mut compare(workspace::built("release", "conformance")?, args))
}

/// The call of the binary at `file`.
fn compare(file: PathBuf, args: &Args) -> Command {
    let mut command = Command::new(file);
    command.args(["--device", &args.device]).current_dir(workspace::root());
    if let Some(required) = &args.require {
        command.args(["--require", required]);
    }
    if let Some(dtype) = &args.dtype {
        command.args(["--dtype", dtype]);
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn required_devices_are_passed_on_and_optional_ones_are_not_required() {
        let call = |args: &Args| workspace::shown(&compare(PathBuf::from("conformance"), args));
        let required = "conformance --device flex,ndarray,wgpu --require flex,wgpu --dtype f32";
        assert_eq!(call(&Args::required("flex,wgpu")), required);
        let optional = Args { device: "cuda:0".to_owned(), require: None, dtype: None };
        assert_eq!(call(&optional), "conformance --device cuda:0");
    }
}
