//! Sees to it that the programs of the other packages are built and up to date: `cargo test -p bursar` builds only
//! its own, `cargo test --workspace` builds all.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Once,
    time::SystemTime,
};

/// The programs with one service each.
const PACKAGES: [&str; 3] = ["bursar-identity", "bursar-organization", "bursar-billing"];
/// Folders of the workspace whose files end up in them.
const SOURCES: [&str; 5] = ["proto", "shared", "services/identity", "services/organization", "services/billing"];

/// Builds what is missing or out of date, once for each test program.
pub(crate) fn build() {
    static BUILT: Once = Once::new();
    BUILT.call_once(|| {
        let profile = Path::new(env!("CARGO_BIN_EXE_bursar")).parent().expect("the directory of the programs");
        let oldest = PACKAGES.iter().map(|package| changed(&profile.join(package))).min().flatten();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let newest = SOURCES.iter().filter_map(|folder| newest(&root.join(folder))).max();
        if oldest.is_none() || oldest < newest {
            run_cargo(profile);
        }
    });
}

fn changed(path: &Path) -> Option<SystemTime> {
    path.metadata().and_then(|metadata| metadata.modified()).ok()
}

/// When the newest file below a folder was changed that is compiled into a program.
fn newest(folder: &Path) -> Option<SystemTime> {
    let paths = folder.read_dir().ok()?.flatten().map(|entry| entry.path());
    let of = |path: PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        match (path.is_dir(), name) {
            (true, "tests") => None,
            (true, _) => newest(&path),
            (false, _) => changed(&path),
        }
    };
    paths.filter_map(of).max()
}

fn run_cargo(profile: &Path) {
    let target = profile.parent().expect("the target directory");
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).arg("build").arg("--quiet");
    command.arg("--target-dir").arg(target);
    match profile.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => {}
        Some(profile) => {
            command.arg("--profile").arg(profile);
        }
    }
    for package in PACKAGES {
        command.args(["--package", package, "--bin", package]);
    }
    let output = command.output().unwrap_or_else(|error| panic!("cannot run cargo: {error}"));
    assert!(output.status.success(), "cannot build {PACKAGES:?}:\n{}", String::from_utf8_lossy(&output.stderr));
}
