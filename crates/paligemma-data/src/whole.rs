//! Files that appear when they are complete.

use std::io;
use std::path::Path;

use tempfile::{Builder, NamedTempFile};

/// A file in the folder of `path`, to be renamed to it; as readable as any other file.
pub(crate) fn beside(path: &Path) -> io::Result<NamedTempFile> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut builder = Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder.unwrap_or(Path::new(".")))
}
