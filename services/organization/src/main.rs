//! `bursar-organization`: the organization service in a process of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    bursar_runtime::run_single(
        bursar_runtime::Service::Organization,
        bursar_organization::open,
        bursar_organization::start,
        bursar_organization::migrate,
    )
}
