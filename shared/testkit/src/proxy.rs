//! A proxy that swallows packets: a server's host that vanishes without a word.
//!
//! It listens on loopback TCP in front of a test's PostgreSQL and carries bytes both ways. At a step that a test chooses it
//! stops carrying them on every connection there is at that moment, and closes none: whoever waits for an answer hears
//! nothing, neither that it comes nor that it will not. Connections made afterwards work.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bursar_db::StoreUrl;
use sqlx::Connection as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixStream, tcp, unix};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::TestDb;

/// At which step the host vanishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vanish {
    /// How many messages of clients are still carried.
    pub after: u32,
    /// Whether the server still sees the next one, and only its answer is lost.
    pub seen: bool,
}

/// What the connections share.
#[derive(Debug)]
struct Shared {
    /// Armed, until it has happened.
    vanish: Mutex<Option<Vanish>>,
    /// Connections of earlier generations carry nothing any more.
    generation: watch::Sender<u64>,
}

impl Shared {
    /// A message of a client comes by: whether it may pass, and whether the host vanishes with it.
    fn comes_by(&self) -> (bool, bool) {
        let mut armed = self.vanish.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *armed {
            None => (true, false),
            Some(Vanish { after: 0, seen }) => {
                let seen = *seen;
                *armed = None;
                (seen, true)
            }
            Some(Vanish { after, .. }) => {
                *after -= 1;
                (true, false)
            }
        }
    }

    fn next_generation(&self) {
        self.generation.send_modify(|generation| *generation += 1);
    }
}

/// A proxy in front of a PostgreSQL. Ends, and with it what it carries, when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
    url: String,
    listening: AbortHandle,
}

impl Proxy {
    /// A proxy in front of a test's database.
    pub async fn before(db: &TestDb) -> Self {
        let (address, parameters) = db.url().split_once("?host=").expect("the private PostgreSQL has a socket");
        let socket = PathBuf::from(parameters).join(".s.PGSQL.5432");
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let port = listener.local_addr().expect("it listens").port();
        let url = address.replace("@localhost/", &format!("@127.0.0.1:{port}/"));
        let shared = Arc::new(Shared { vanish: Mutex::default(), generation: watch::Sender::new(0) });
        let carried = Arc::clone(&shared);
        let listening = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = UnixStream::connect(&socket).await else { continue };
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                let generation = carried.generation.subscribe();
                let own = *generation.borrow();
                let generation = (own, generation);
                tokio::spawn(up(from_client, to_server, Arc::clone(&carried), generation.clone()));
                tokio::spawn(down(from_server, to_client, generation));
            }
        });
        Self { shared, url: format!("{url}?sslmode=disable"), listening: listening.abort_handle() }
    }

    /// The database behind it.
    pub fn store_url(&self) -> StoreUrl {
        self.url.parse().expect("a good address")
    }

    /// The same as text.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Has the host vanish at this step.
    pub fn arm(&self, vanish: Vanish) {
        *self.shared.vanish.lock().unwrap_or_else(PoisonError::into_inner) = Some(vanish);
    }

    /// Takes it back; says whether it had not happened.
    pub fn disarm(&self) -> bool {
        self.shared.vanish.lock().unwrap_or_else(PoisonError::into_inner).take().is_some()
    }

    /// Whether the step came for which it was armed.
    pub fn has_vanished(&self) -> bool {
        self.shared.vanish.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    /// Waits until the database behind it answers a new connection.
    pub async fn is_answered(&self) {
        let asked = async { sqlx::PgConnection::connect(&self.url).await?.ping().await };
        asked.await.expect("new connections are carried");
    }

    /// The host vanishes now.
    pub fn vanish(&self) {
        self.shared.next_generation();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// Until the connection's generation has passed.
async fn vanished(own: u64, generation: &mut watch::Receiver<u64>) {
    let _ = generation.wait_for(|now| *now != own).await;
}

/// For how many hosts that vanish later the streams of one are kept. By then nobody waits for it any more, and a server
/// whose client is gone notices; without an end a test of many steps leaves the server no connections.
const KEPT: u64 = 4;

/// Whoever vanished closes nothing: the streams are kept until that is long ago.
async fn kept<T>(streams: T, own: u64, mut generation: watch::Receiver<u64>) {
    let over = generation.wait_for(|now| *now > own + KEPT).await.is_ok();
    if !over {
        std::future::pending::<()>().await;
    }
    drop(streams);
}

async fn up(
    mut client: tcp::OwnedReadHalf,
    mut server: unix::OwnedWriteHalf,
    shared: Arc<Shared>,
    generation: (u64, watch::Receiver<u64>),
) {
    let (own, mut generation) = generation;
    let mut bytes = vec![0; 1 << 16];
    loop {
        let read = tokio::select! {
            biased;
            () = vanished(own, &mut generation) => return kept((client, server), own, generation).await,
            read = client.read(&mut bytes) => read,
        };
        let Ok(length @ 1..) = read else { return };
        let (passes, last) = shared.comes_by();
        if last {
            // First nothing comes back, then this one may pass.
            shared.next_generation();
        }
        if passes && server.write_all(&bytes[..length]).await.is_err() {
            return;
        }
    }
}

async fn down(
    mut server: unix::OwnedReadHalf,
    mut client: tcp::OwnedWriteHalf,
    generation: (u64, watch::Receiver<u64>),
) {
    let (own, mut generation) = generation;
    let mut bytes = vec![0; 1 << 16];
    loop {
        let read = tokio::select! {
            biased;
            () = vanished(own, &mut generation) => return kept((server, client), own, generation).await,
            read = server.read(&mut bytes) => read,
        };
        let Ok(length @ 1..) = read else { return };
        if client.write_all(&bytes[..length]).await.is_err() {
            return;
        }
    }
}
