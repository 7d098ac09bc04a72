//! What the suite prints once it is ready: what runs where, and what to try next.

use std::{fmt::Write as _, io::Write as _};

use bursar_runtime::{Mode, Service, Settings};

/// Prints it to standard output. Logs go to standard error and never mix with it.
pub(crate) fn print(settings: &Settings) {
    // Nobody has to listen: a closed standard output is no reason to stop serving.
    let _ = std::io::stdout().write_all(text(settings).as_bytes());
}

fn text(settings: &Settings) -> String {
    let mode = match settings.mode {
        Mode::Development => "development mode",
        Mode::Production => "production mode",
    };
    let mut text = format!("\nBursar is ready, in {mode}.\n\n");
    for service in Service::ALL {
        line(&mut text, service.name(), settings.service_address(service));
    }
    let operations = settings.operations_listener();
    let scheme = if settings.operations_tls.certificate_file.is_some() { "https" } else { "http" };
    line(&mut text, "operations", format_args!("{scheme}://{operations}/readyz (and /livez, /metrics)"));
    line(&mut text, "data", settings.data_dir.display());
    if settings.mail.smtp_url.is_none() {
        line(&mut text, "mail", format_args!("{}/*.eml", settings.mail_dir().display()));
    }
    line(&mut text, "operator", format_args!("{} (client_id and client_secret)", settings.operator_file.display()));
    if settings.test_clock {
        line(&mut text, "time", "stands still until ClockService moves it (--test-clock)");
    }
    let identity = settings.service_address(Service::Identity);
    // Over TLS, who made the certificate is the reader's to say.
    let how = if settings.tls.certificate_file.is_some() { "-cacert CA.pem" } else { "-plaintext" };
    let _ = write!(
        text,
        "\nTry next:\n  \
         bursar demo (from a clone: cargo run -- demo)\n  \
         grpcurl {how} {identity} list\n  \
         grpcurl {how} -d '{{\"email\":\"ada@example.com\",\"password\":\"correct horse\",\"display_name\":\"Ada\"}}' \
         {identity} bursar.identity.v1.UserService/SignUp\n\n\
         Stop with Ctrl-C.\n\n",
    );
    text
}

fn line(text: &mut String, name: &str, value: impl std::fmt::Display) {
    let _ = writeln!(text, "  {name:<13} {value}");
}
