//! `devices`: what this build can run on, on this machine.

use clap::Args;
use paligemma::{DeviceSpec, DeviceStatus};

use crate::args::JsonArgs;
use crate::error::Error;
use crate::{output, wire};

/// All devices.
#[derive(Args, Debug)]
pub(crate) struct Devices {
    #[command(flatten)]
    json: JsonArgs,
}

impl Devices {
    /// Lists every backend, usable or not.
    pub(crate) fn run(self) -> Result<(), Error> {
        let auto = DeviceSpec::Auto.resolve().map_err(paligemma::Error::from)?;
        let all = DeviceSpec::all();
        if self.json.json {
            return output::json(&wire::Devices::new(&all, auto));
        }
        let row = |DeviceStatus { device, status }: &DeviceStatus| {
            let (usable, what) = match status {
                Ok(what) => ("yes", what.clone()),
                Err(reason) => ("no", reason.to_string()),
            };
            let note = if *device == auto { "auto" } else { "" };
            [device.to_string(), usable.to_owned(), note.to_owned(), what]
        };
        output::table(&all.iter().map(row).collect::<Vec<_>>())
    }
}
