//! How much memory this process may still take: what the system and its control groups leave it.

use std::fs;
use std::path::Path;

/// Bytes that this process may still take, swap included; none where the system does not say, as
/// anywhere but on Linux.
///
/// It is the least of what `/proc/meminfo` calls available and of what every memory limit of the
/// process's control groups (versions 1 and 2) and of those around them leaves. Pages of files do
/// not count as taken: the system drops them when memory is asked for.
pub fn available_memory() -> Option<u64> {
    available(Path::new("/"))
}

/// The same of a system whose files are below `root`.
fn available(root: &Path) -> Option<u64> {
    let text = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let kibibytes = |name| number_after(&text, name).map(|number| number * 1024);
    let free = kibibytes("MemAvailable:")? + kibibytes("SwapFree:").unwrap_or(0);
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let rooms = groups.lines().filter_map(|line| room(root, line)).min();
    Some(rooms.map_or(free, |room| room.min(free)))
}

/// What the limits of a control group leave, given its line of `/proc/self/cgroup`:
/// `number:controllers:path`, with number 0 and no controllers in version 2.
fn room(root: &Path, line: &str) -> Option<u64> {
    let mut parts = line.splitn(3, ':');
    let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
    let version = match controllers {
        "" => &VERSION_2,
        list if list.split(',').any(|name| name == "memory") => &VERSION_1,
        _ => return None,
    };
    let mount = root.join(version.mount);
    // A limit around a group binds it too. In a container the path may be one of the host, where
    // only its beginning, the mount itself, is seen.
    let groups = Path::new(path.trim_start_matches('/')).ancestors();
    groups.filter_map(|group| version.room(&mount.join(group))).min()
}

/// Where a version of control groups keeps its numbers.
struct Version {
    mount: &'static str,
    limit: &'static str,
    usage: &'static str,
    /// Fields of `memory.stat`: pages of files, used lately and not.
    files: [&'static str; 2],
}

const VERSION_1: Version = Version {
    mount: "sys/fs/cgroup/memory",
    limit: "memory.limit_in_bytes",
    usage: "memory.usage_in_bytes",
    files: ["total_active_file ", "total_inactive_file "],
};
const VERSION_2: Version = Version {
    mount: "sys/fs/cgroup",
    limit: "memory.max",
    usage: "memory.current",
    files: ["active_file ", "inactive_file "],
};

impl Version {
    /// What the limit of the group in this folder leaves; none without a limit.
    fn room(&self, folder: &Path) -> Option<u64> {
        let read = |name| fs::read_to_string(folder.join(name)).ok();
        let number = |name| read(name)?.trim().parse::<u64>().ok();
        // Version 2 writes `max` where there is none, version 1 more than any machine has.
        let (limit, usage) = (number(self.limit)?, number(self.usage)?);
        let stat = read("memory.stat").unwrap_or_default();
        let files: u64 = self.files.iter().filter_map(|name| number_after(&stat, name)).sum();
        Some(limit.saturating_sub(usage.saturating_sub(files)))
    }
}

/// The number behind `name` at the beginning of a line.
fn number_after(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMORY: &str = "MemTotal: 9000 kB\nMemAvailable:    4000 kB\nSwapFree:  96 kB\n";

    /// What is available on a system with these files.
    fn of(files: &[(&str, &str)]) -> Option<u64> {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        available(root.path())
    }

    #[test]
    fn without_limits_it_is_what_the_system_has() {
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[("proc/meminfo", MEMORY)]), Some(4096 * 1024));
        let unlimited = [
            ("proc/meminfo", MEMORY),
            ("proc/self/cgroup", "3:cpu:/a\n4:hugetlb,memory:/a\n0::/a\n"),
            ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/memory/a/memory.usage_in_bytes", "5000\n"),
            ("sys/fs/cgroup/a/memory.max", "max\n"),
            ("sys/fs/cgroup/a/memory.current", "5000\n"),
        ];
        assert_eq!(of(&unlimited), Some(4096 * 1024));
    }

    #[test]
    fn the_narrowest_limit_around_counts_and_files_do_not() {
        let second = [
            ("proc/meminfo", MEMORY),
            ("proc/self/cgroup", "0::/a/b\n"),
            ("sys/fs/cgroup/a/memory.max", "100000\n"),
            ("sys/fs/cgroup/a/memory.current", "70000\n"),
            ("sys/fs/cgroup/a/memory.stat", "anon 60000\nactive_file 2000\ninactive_file 3000\n"),
            ("sys/fs/cgroup/a/b/memory.max", "90000\n"),
            ("sys/fs/cgroup/a/b/memory.current", "10000\n"),
        ];
        assert_eq!(of(&second), Some(100_000 - 65_000));
        // A container sees the path of the host, and the mount as its own group.
        let first = [
            ("proc/meminfo", MEMORY),
            ("proc/self/cgroup", "9:memory:/docker/1234\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "50000\n"),
            ("sys/fs/cgroup/memory/memory.usage_in_bytes", "60000\n"),
            ("sys/fs/cgroup/memory/memory.stat", "active_file 9\ntotal_inactive_file 20000\n"),
        ];
        assert_eq!(of(&first), Some(10_000));
    }
}
