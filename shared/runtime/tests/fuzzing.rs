//! Files of settings with edits: each is read, or refused in words.

use std::fs;

use bursar_runtime::{Loader, Program};

const FILES: [&str; 2] = [
    r#"
        mode = "development"
        port_base = 7400

        [billing]
        queue_max = 1024
        combine = true

        [limits]
        in_flight = 4096
        message_deadline = "5s"
    "#,
    "preset = \"flik\"\n[organizations]\nmax_created_per_day = 3\n",
];

#[test]
fn fuzz_settings() {
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("bursar.toml");
    let load = |bytes: &[u8]| {
        fs::write(&path, bytes).expect("written");
        Loader::new(Program::Suite).file(&path).load()
    };
    for file in FILES {
        load(file.as_bytes()).expect("good settings");
    }
    bursar_fuzz::fuzz("settings", &FILES, |bytes| {
        if let Err(refused) = load(bytes) {
            assert!(!refused.problems().is_empty(), "it is refused for nothing");
        }
    });
}
