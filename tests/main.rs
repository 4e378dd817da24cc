//! The program `conformance`: prints the table, and fails if anything in it does.

use std::process::ExitCode;

use clap::Parser;
use paligemma::{DeviceSpec, DeviceStatus, Dtype};
use paligemma_tests::conformance::{Case, Count, GAPS, columns, table};
use paligemma_tests::reference::Tiny;

/// Compares every device with the references, case by case, for both generations.
#[derive(Parser)]
#[command(name = "conformance")]
struct Args {
    /// Devices, with commas between
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "flex,ndarray,wgpu,cuda"
    )]
    device: Vec<DeviceSpec>,
    /// What to hold the model in, with commas between
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        value_parser = dtype,
        default_value = "f32,bf16,f16,int8,int4"
    )]
    dtype: Vec<Dtype>,
    /// Devices whose absence is a failure
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    require: Vec<DeviceSpec>,
}

/// What `auto` is depends on files; a column has one dtype.
fn dtype(name: &str) -> Result<Dtype, String> {
    match name.parse()? {
        Dtype::Auto => Err("use f32, bf16, f16, int8 or int4".to_owned()),
        dtype => Ok(dtype),
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let known = DeviceSpec::all();
    for DeviceStatus { device, status } in &known {
        let text = status.as_ref().map_or_else(ToString::to_string, Clone::clone);
        println!("{device}: {text}");
    }
    let asked = if args.device.is_empty() {
        known.into_iter().map(|known| known.device).collect()
    } else {
        args.device
    };
    // A device that is required is also measured, and each is measured once.
    let mut devices: Vec<DeviceSpec> = Vec::new();
    for device in asked.into_iter().chain(args.require.iter().copied()) {
        if !devices.contains(&device) {
            devices.push(device);
        }
    }
    // A panic of a case is shown in the table, with its message.
    std::panic::set_hook(Box::new(|_| ()));
    let mut failed = 0;
    for golden in Tiny::ALL {
        let cases = Case::all(golden);
        let mut all = Vec::new();
        for (&device, &dtype) in
            devices.iter().flat_map(|device| args.dtype.iter().map(move |dtype| (device, dtype)))
        {
            // A GPU compiles for minutes before it shows its first table.
            eprintln!("{golden}: {device} in {dtype} ..");
            all.extend(columns(golden, &cases, &[device], &[dtype], &args.require, GAPS));
        }
        println!("\n{golden}\n{}", table(&cases, &all));
        let count = Count::of(&all);
        println!("{count}");
        failed += count.failed;
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
