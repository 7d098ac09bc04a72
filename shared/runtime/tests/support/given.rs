//! Settings from what a test writes down.

use std::{fs, path::Path};

use bursar_runtime::{Options, Program, Service, Settings};
use clap::Parser;

/// A program with nothing but the shared flags.
#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    options: Options,
}

/// Reads what `given` says, one thing a line: `--flag value`, `BURSAR_VARIABLE=value`, or a line of the
/// TOML file, which is called `DIR/bursar.toml` in refusals.
pub(crate) fn read(program: Program, given: &str) -> Result<Settings, String> {
    let dir = tempfile::tempdir().expect("a directory");
    let mut arguments = vec!["bursar".to_owned()];
    let mut environment = Vec::new();
    let mut file = Vec::new();
    for line in given.lines().map(str::trim) {
        if line.starts_with("--") {
            arguments.extend(line.split_whitespace().map(str::to_owned));
        } else if line.starts_with("BURSAR") {
            let (name, value) = line.split_once('=').expect("a variable has a value");
            environment.push((name.to_owned(), value.to_owned()));
        } else if !line.is_empty() {
            file.push(line);
        }
    }
    if !file.is_empty() {
        let path = dir.path().join("bursar.toml");
        fs::write(&path, file.join("\n")).expect("the file");
        arguments.extend(["--config".to_owned(), path.display().to_string()]);
    }
    let cli = Cli::try_parse_from(arguments).map_err(|error| error.to_string())?;
    let settings = cli.options.settings_with(program, environment);
    settings.map_err(|error| {
        let text = error.to_string();
        text.replace(&dir.path().display().to_string(), "DIR")
    })
}

/// What every program accepts in production mode: nothing of it is allowed for once, and all of it is somebody's own.
/// The files that it speaks of are made in `folder`.
pub(crate) fn fit_for_production(folder: &Path) -> String {
    use std::fmt::Write as _;
    fs::write(folder.join("master.key"), "7".repeat(64)).expect("written");
    let authority = bursar_testkit::Authority::new("a test");
    authority.certificate(&["bursar.test"]).write(folder, "port");
    let folder = folder.display();
    let mut given = format!(
        "BURSAR_MASTER_KEY_FILE={folder}/master.key
        BURSAR_MAIL__SMTP_URL=smtps://mail.test:465
        BURSAR_MAIL__FROM=Acme <no-reply@acme.test>
        BURSAR_MAIL__LINK_BASE_URL=https://app.acme.test
        BURSAR_ALLOW_SANDBOX_PAYMENTS=true
        BURSAR_CONTENT_URL=s3://acme-content/bursar
        BURSAR_S3__ACCESS_KEY_ID=acme
        BURSAR_S3__SECRET_ACCESS_KEY=hidden
        BURSAR_TLS__CERTIFICATE_FILE={folder}/port.crt
        BURSAR_TLS__KEY_FILE={folder}/port.key
        BURSAR_OPERATIONS_TLS__CERTIFICATE_FILE={folder}/port.crt
        BURSAR_OPERATIONS_TLS__KEY_FILE={folder}/port.key
        "
    );
    for service in Service::ALL {
        let secret = format!("{folder}/{service}.secret");
        fs::write(&secret, "A".repeat(43)).expect("written");
        let name = service.name().to_uppercase();
        let _ = writeln!(given, "{}=postgres://bursar@db.test/{service}?sslmode=verify-full", service.store_variable());
        let _ = writeln!(given, "BURSAR_{name}_URL=https://{service}.test:1");
        let _ = writeln!(given, "BURSAR_SERVICE_SECRETS__{name}_FILE={secret}");
    }
    given
}
