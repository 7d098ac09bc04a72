//! The `main` of every program: read the settings, prepare the process, run, end with the right code.
//!
//! Exit codes: 0 all went well, 1 something failed, 2 the command line or the configuration is wrong.

use std::{
    convert::Infallible,
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use bursar_db::Db;
use bursar_rpc::Transport;
use bursar_secret::Entropy;
use bursar_time::Timestamp;
use clap::{CommandFactory as _, FromArgMatches as _, Subcommand};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    Each, Env, Listeners, Mode, Options, Peers, Program, Service, ServiceCli, ServiceCommand, Settings, Signals,
    Started, audit_command, clock_command, dead_letters, lifecycle, set_aside, telemetry::Telemetry, tls,
};

/// What the exit code is when the command line or the configuration is wrong.
const USAGE: u8 = 2;
/// How long work on blocking threads may keep a stopped process.
const LEAVE_WITHIN: Duration = Duration::from_millis(300);
/// How long `healthcheck` waits for an answer.
const HEALTHCHECK_WITHIN: Duration = Duration::from_secs(3);

/// The whole `main` of a program that runs one service: commands `serve` (default), `migrate`,
/// `healthcheck`, `jobs`, `clock` and `events`. `check` looks into the files that the settings name, for
/// `--check-config`; `open` opens the service's store, which must have been
/// migrated.
///
/// ```ignore
/// fn main() -> ExitCode {
///     bursar_runtime::run_single(Service::Identity, |_| Ok(()), bursar_identity::open, bursar_identity::start, bursar_identity::migrate)
/// }
/// ```
pub fn run_single<C, O, S, M>(service: Service, check: C, open: O, start: S, migrate: M) -> ExitCode
where
    C: FnOnce(&Settings) -> anyhow::Result<()>,
    O: AsyncFnOnce(&Settings) -> anyhow::Result<Db>,
    S: AsyncFnOnce(&Settings, Peers, Env) -> anyhow::Result<Started>,
    M: AsyncFnOnce(&Settings, Option<Timestamp>) -> anyhow::Result<()>,
{
    run_single_with(service, check, open, start, migrate, async |_: &Settings, never: Infallible| match never {})
}

/// Like [`run_single`], with commands of the program's own, which `extra` carries out.
pub fn run_single_with<C, O, S, M, X, E>(
    service: Service,
    check: C,
    open: O,
    start: S,
    migrate: M,
    extra: X,
) -> ExitCode
where
    C: FnOnce(&Settings) -> anyhow::Result<()>,
    O: AsyncFnOnce(&Settings) -> anyhow::Result<Db>,
    S: AsyncFnOnce(&Settings, Peers, Env) -> anyhow::Result<Started>,
    M: AsyncFnOnce(&Settings, Option<Timestamp>) -> anyhow::Result<()>,
    X: AsyncFnOnce(&Settings, E) -> anyhow::Result<ExitCode>,
    E: Subcommand,
{
    let program = Program::Single(service);
    let command = ServiceCli::<E>::command().name(program.name()).about(format!("Bursar's {service} service"));
    let cli = match ServiceCli::<E>::from_arg_matches(&command.get_matches()) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    run(program, &cli.options, check, async |settings: &Settings| match cli.command {
        None | Some(ServiceCommand::Serve) => {
            let wire = async |settings: &Settings, env: Env| {
                if settings.migrate_on_start {
                    migrate(settings, None).await.with_context(|| format!("cannot migrate {service}"))?;
                }
                let peers = network_peers(settings, &env)?;
                let started = start(settings, peers, env).await;
                Ok(vec![started.with_context(|| format!("cannot start {service}"))?])
            };
            serve(program, settings, wire, || {}).await
        }
        Some(ServiceCommand::Migrate(args)) => {
            let (telemetry, env) = prepare(program, settings)?;
            let done = migrate(settings, args.restored_at(&env.clock))
                .await
                .with_context(|| format!("cannot migrate {service}"));
            telemetry.shutdown().await;
            done.map(|()| ExitCode::SUCCESS)
        }
        Some(ServiceCommand::Healthcheck) => healthcheck(settings).await,
        Some(ServiceCommand::Jobs { retry }) => dead_letters::run(settings, open(settings).await?, retry).await,
        Some(ServiceCommand::Clock { accept }) => clock_command::run(open(settings).await?, accept).await,
        Some(ServiceCommand::Events(args)) => set_aside::run(open(settings).await?, args).await,
        Some(ServiceCommand::Audit(args)) => audit_command::run(open(settings).await?, &args).await,
        Some(ServiceCommand::Extra(command)) => extra(settings, command).await,
    })
}

/// Reads the settings, answers `--check-config` (with `check`, which looks into the files that they name) and
/// `--print-config`, and runs `work` on a runtime of its own. Errors go to standard error, with an exit code.
pub fn run<C, W>(program: Program, options: &Options, check: C, work: W) -> ExitCode
where
    C: FnOnce(&Settings) -> anyhow::Result<()>,
    W: AsyncFnOnce(&Settings) -> anyhow::Result<ExitCode>,
{
    let settings = match options.settings(program) {
        Ok(settings) => settings,
        Err(error) => return usage(&error),
    };
    if let Some(answer) = options.answer(&settings, check) {
        return answer;
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&anyhow::Error::new(error).context("cannot start threads")),
    };
    let outcome = runtime.block_on(work(&settings));
    runtime.shutdown_timeout(LEAVE_WITHIN);
    outcome.unwrap_or_else(|error| failed(&error))
}

/// Connections are open files, of which a process may often have a thousand until it asks for as many as it is allowed.
fn ask_for_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::debug!(%error, "no more open files than at first");
    }
}

/// Takes the ports, starts what `wire` makes, serves it until a signal, and stops. `on_ready` runs once
/// when all of it is ready.
pub async fn serve<W, R>(program: Program, settings: &Settings, wire: W, on_ready: R) -> anyhow::Result<ExitCode>
where
    W: AsyncFnOnce(&Settings, Env) -> anyhow::Result<Vec<Started>>,
    R: FnOnce(),
{
    // The ports first: whoever starts a second program by mistake should not have touched any file.
    let listeners = Listeners::bind(settings, program.services()).await?;
    let (telemetry, env) = prepare(program, settings)?;
    ask_for_open_files();
    tracing::info!(
        program = program.name(),
        version = env!("CARGO_PKG_VERSION"),
        mode = ?settings.mode,
        data_dir = %settings.data_dir.display(),
        port_base = settings.port_base,
        test_clock = settings.test_clock,
        "starting"
    );
    let allowed = settings.allowances();
    if settings.mode != Mode::Development && !allowed.is_empty() {
        tracing::warn!(?allowed, "production mode runs with what it would refuse by itself");
    }
    if settings.mode != Mode::Development && settings.keeps_content_to_itself(program) {
        tracing::warn!(
            content_url = %settings.content_url,
            "content of libraries lies in this replica's own folder: other replicas do not find it"
        );
    }
    let unsaid = settings.unsaid(program);
    if settings.mode != Mode::Development && !unsaid.is_empty() {
        tracing::warn!(
            ?unsaid,
            "customers are told the defaults of these settings: a product's name, who sells, what is sold"
        );
    }
    let signals = Signals::of_process()?;
    let registry = telemetry.registry();
    let served = lifecycle::serve(settings, env, registry, listeners, signals, wire, on_ready).await;
    telemetry.shutdown().await;
    served.map(|()| ExitCode::SUCCESS)
}

/// Prepares the process: data directory, telemetry, surroundings.
pub fn prepare(program: Program, settings: &Settings) -> anyhow::Result<(Telemetry, Env)> {
    settings.prepare_data_dir(program, &Entropy::system())?;
    let telemetry = Telemetry::build(program, settings)?;
    telemetry.install(program, settings)?;
    let env = lifecycle::surroundings(settings, &telemetry);
    Ok((telemetry, env))
}

/// The peers of a service that has a process of its own: connected to when first used, reconnected and
/// resolved again for ever. `https://` URLs are spoken to as `[peer_tls]` says.
pub fn network_peers(settings: &Settings, env: &Env) -> anyhow::Result<Peers> {
    let tls = tls::peers(settings, env)?;
    let to = |service: Service| {
        let url = settings.peer_url(service);
        Transport::connect_with(url, &tls).with_context(|| format!("{} `{url}`", service.url_key()))
    };
    Each::try_of(to).map(Peers::new)
}

/// Asks `/readyz` of the program that runs with these settings on this machine. Success if it is ready.
pub async fn healthcheck(settings: &Settings) -> anyhow::Result<ExitCode> {
    let mut address = settings.operations_listener();
    if address.ip().is_unspecified() {
        address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), address.port());
    }
    let secured = settings.operations_tls.certificate_file.is_some();
    let url = format!("{}://{address}/readyz", if secured { "https" } else { "http" });
    let asking = async {
        if secured {
            ask(tls::connect_here(settings, address).await?, address).await
        } else {
            ask(TcpStream::connect(address).await?, address).await
        }
    };
    let answer = tokio::time::timeout(HEALTHCHECK_WITHIN, asking)
        .await
        .map_err(|_| anyhow::anyhow!("no answer within {} seconds", HEALTHCHECK_WITHIN.as_secs()))
        .and_then(|answer| answer.map_err(anyhow::Error::new))
        .with_context(|| url.clone())?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    if head.starts_with("HTTP/1.1 200") {
        return Ok(ExitCode::SUCCESS);
    }
    anyhow::bail!("{url}: {}", body.trim_end())
}

async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, address: SocketAddr) -> std::io::Result<String> {
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(64 * 1024).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Says on standard error what is wrong with the command line or the configuration.
pub(crate) fn usage(error: &dyn fmt::Display) -> ExitCode {
    complain(error);
    ExitCode::from(USAGE)
}

fn failed(error: &anyhow::Error) -> ExitCode {
    complain(&format_args!("{error:#}"));
    ExitCode::FAILURE
}

fn complain(error: &dyn fmt::Display) {
    use std::io::Write as _;
    // There is nowhere left to say that standard error is gone.
    let _ = writeln!(std::io::stderr(), "error: {error}");
}
