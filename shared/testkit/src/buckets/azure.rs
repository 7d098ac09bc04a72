//! Azure Blob Storage: Azurite, Microsoft's own emulator, one for all tests of a program, each of which has a container of its
//! own.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::OnceCell;

use super::OBJECT;
use crate::process::{Process, Program, ask};

/// The account that Azurite has, and its key: both are Microsoft's, and known to everybody.
pub(super) const ACCOUNT: &str = "devstoreaccount1";
pub(super) const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
/// What the account's key has signed: that whoever says so may make containers and list them.
const MAY: &str = "sv=2021-12-02&ss=b&srt=sco&sp=rwdlac&se=2999-01-01T00%3A00%3A00Z&spr=https%2Chttp&\
                   sig=5RWPoaPEGmtL1rvnUAjRMVpM6v0XyaHt3aHJ85rqIe8%3D";
/// Azurite's program within its package.
const PROGRAM: &str = "node_modules/azurite/dist/src/blob/main.js";
/// How long it may take to start.
const STARTED_WITHIN: Duration = Duration::from_mins(1);
/// How long it may let wait for an answer: all tests of a program ask the same one.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);
/// By what it says where it listens.
const LISTENS: &str = "successfully listens on http://127.0.0.1:";

/// One that runs, as long as this program does.
struct Azurite {
    address: SocketAddr,
    _process: Process,
}

/// Where Azurite is, if it is anywhere: `scripts/azurite.sh` has fetched it to `BURSAR_TEST_AZURITE`.
pub(super) async fn azurite() -> Option<SocketAddr> {
    static AZURITE: OnceCell<Azurite> = OnceCell::const_new();
    static SAID: OnceLock<()> = OnceLock::new();
    let Some(folder) = std::env::var_os("BURSAR_TEST_AZURITE").filter(|it| !it.is_empty()).map(PathBuf::from) else {
        SAID.get_or_init(|| {
            // Written directly: the test runner hides what a passing test prints with `eprintln!`.
            let _ = writeln!(
                std::io::stderr(),
                "\nWARNING: containers of Azure were not looked at. BURSAR_TEST_AZURITE names no folder of Azurite: \
                 scripts/azurite.sh fetches it, or says why it cannot\n"
            );
        });
        return None;
    };
    let started = AZURITE.get_or_init(async || {
        let arguments = ["--blobHost", "127.0.0.1", "--blobPort", "0", "--inMemoryPersistence"];
        let program = Program::new(folder.join("node")).arg(folder.join(PROGRAM)).args(arguments);
        let process = program.args(["--silent", "--disableTelemetry"]).spawn();
        let log = process.says(LISTENS, STARTED_WITHIN).await;
        let port = log.split_once(LISTENS).and_then(|(_, rest)| rest.lines().next()?.trim().parse().ok());
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port.expect("a port")));
        Azurite { address, _process: process }
    });
    Some(started.await.address)
}

/// Makes a container whose name begins so.
pub(super) fn container(azurite: SocketAddr, beginning: &str) -> String {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let name = format!("{beginning}-{}", MADE.fetch_add(1, Ordering::Relaxed));
    let made = ask("PUT", azurite.port(), &format!("/{ACCOUNT}/{name}?restype=container&{MAY}"), ANSWERS_WITHIN);
    let (code, said) = made.expect("an answer");
    assert_eq!(code, 201, "{said}");
    name
}

/// How many objects of content a container has.
pub(super) fn objects(azurite: SocketAddr, container: &str, prefix: &str) -> usize {
    let list = format!("/{ACCOUNT}/{container}?restype=container&comp=list&prefix={prefix}/&{MAY}");
    let (code, said) = ask("GET", azurite.port(), &list, ANSWERS_WITHIN).expect("a list");
    assert_eq!(code, 200, "{said}");
    let names = said.split("<Name>").skip(1).filter_map(|rest| rest.split_once("</Name>")?.0.strip_prefix(prefix));
    names.filter(|name| name.split('/').nth(1).is_some_and(|object| object.len() == OBJECT)).count()
}
