//! `bursar`: the three services in one process.

use std::process::ExitCode;

fn main() -> ExitCode {
    bursar::run()
}
