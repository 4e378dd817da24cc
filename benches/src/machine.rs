//! One line about the machine that measured: processor, cores, instructions, memory, load, day.

use std::time::{SystemTime, UNIX_EPOCH};

/// The vector and matrix instructions that the kernels of this project and its peers choose by.
const FEATURES: [&str; 8] = [
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "avx_vnni",
    "amx_bf16",
    "amx_int8",
];

/// Describes this machine, as far as its system tells. The load is that of the last minute: on a
/// machine that had other work, the timings are worth nothing.
pub(crate) fn describe() -> String {
    let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
    let (cpu, memory) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
    let model = field(&cpu, "model name").unwrap_or(std::env::consts::ARCH);
    let numbers = ["cpu family", "model", "stepping"].map(|name| field(&cpu, name).unwrap_or("?"));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let flags: Vec<&str> = field(&cpu, "flags").unwrap_or_default().split(' ').collect();
    let present: Vec<&str> = FEATURES.into_iter().filter(|f| flags.contains(f)).collect();
    let kib = field(&memory, "MemTotal").and_then(|text| text.trim_end_matches(" kB").parse().ok());
    let gib =
        kib.map_or_else(|| "?".to_owned(), |kib: f64| format!("{:.0}", kib / f64::from(1 << 20)));
    let load = read("/proc/loadavg");
    let load = load.split(' ').next().filter(|load| !load.is_empty()).unwrap_or("unknown");
    format!(
        "{model} (family, model, stepping: {}), {cores} cores, {gib} GiB, {}; {}; load before {load}; {}.",
        numbers.join(", "),
        if present.is_empty() { "no vector features known".to_owned() } else { present.join(" ") },
        std::env::consts::OS,
        today()
    )
}

/// The value of a line `name : value`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        (found.trim() == name).then(|| value.trim())
    })
}

fn today() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    date(since.as_secs() / 86400)
}

/// The day of the Gregorian calendar that many days after 1970-01-01.
fn date(days: u64) -> String {
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let (mut year, mut left) = (1970, days);
    while left >= 365 + u64::from(leap(year)) {
        left -= 365 + u64::from(leap(year));
        year += 1;
    }
    let months = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while left >= months[month] {
        left -= months[month];
        month += 1;
    }
    format!("{year}-{:02}-{:02}", month + 1, left + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        let days = [(0, "1970-01-01"), (11_016, "2000-02-29"), (19_722, "2023-12-31")];
        for (count, day) in days {
            assert_eq!(date(count), day);
        }
        assert_eq!(date(19_723), "2024-01-01");
    }

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "cpu family\t: 6\nmodel\t\t: 207\nmodel name\t: A CPU\n";
        assert_eq!(field(text, "model name"), Some("A CPU"));
        assert_eq!(field(text, "model"), Some("207"));
        assert_eq!(field(text, "flags"), None);
    }
}
