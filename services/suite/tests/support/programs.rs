//! Sees to it that the programs of the other packages are built: `cargo test -p bursar` builds only its own.

use std::{path::Path, process::Command, sync::Once};

/// The programs with one service each.
const PACKAGES: [&str; 3] = ["bursar-identity", "bursar-organization", "bursar-billing"];

/// Builds what is not up to date, once for each test program. Takes no time when everything is.
pub fn build() {
    static BUILT: Once = Once::new();
    BUILT.call_once(|| {
        let suite = Path::new(env!("CARGO_BIN_EXE_bursar"));
        let profile = suite.parent().expect("the directory of the programs");
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
        assert!(
            output.status.success(),
            "cannot build {PACKAGES:?}:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    });
}
