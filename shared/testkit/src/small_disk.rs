//! A disk that can be full.

use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file system of a few megabytes of its own, unmounted in the end.
#[derive(Debug)]
pub struct SmallDisk {
    place: tempfile::TempDir,
    mebibytes: usize,
}

impl SmallDisk {
    /// Mounts one, open to every user. `None` where this process may not, as only root may: said aloud with `what` is then
    /// not tested.
    pub fn mount(what: &str, mebibytes: usize) -> Option<Self> {
        let place = tempfile::Builder::new().prefix("bursar-full").tempdir_in("/tmp").expect("a directory");
        let size = format!("size={mebibytes}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(place.path()).status();
        if !mounted.is_ok_and(|status| status.success()) {
            // Written directly: the test runner hides what a passing test prints with `eprintln!`.
            let _ = writeln!(std::io::stderr(), "NOT TESTED: {what}. Only root may mount a small file system");
            return None;
        }
        std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o755)).expect("opened");
        Some(Self { place, mebibytes })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.place.path()
    }

    /// Fills it up: nothing more fits.
    pub fn fill(&self) {
        let full = std::fs::write(self.rubbish(), vec![1; self.mebibytes << 20]).expect_err("it is full");
        assert_eq!(full.kind(), ErrorKind::StorageFull);
    }

    /// There is room again.
    pub fn clear(&self) {
        std::fs::remove_file(self.rubbish()).expect("there was rubbish");
    }

    fn rubbish(&self) -> PathBuf {
        self.path().join("rubbish")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(self.path()).status());
    }
}
