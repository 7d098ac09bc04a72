//! The identity service as a program of its own.

use std::process::ExitCode;

use bursar_runtime::Service;

fn main() -> ExitCode {
    bursar_runtime::run_single(
        Service::Identity,
        |_| Ok(()),
        bursar_identity::open_migrated,
        bursar_identity::start,
        bursar_identity::migrate,
    )
}
