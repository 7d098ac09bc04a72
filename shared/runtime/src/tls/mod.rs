//! TLS: what ports show to their callers, what peers are asked for, and how both follow their files.
//!
//! Certificates live for months, weeks or hours, programs for longer: whatever is made of files here is made anew when
//! they change. Each new connection takes what holds then; connections that are open go on until they reach their age.
//! A change that cannot be used (a broken file, a key of another certificate) leaves what was there before, with a
//! warning and in the metrics.

mod files;
mod probe;
mod reload;

use std::sync::Arc;

use bursar_rpc::PeerTls;
use rustls::ServerConfig;
use tokio::sync::watch;
use tokio_rustls::{Accept, TlsAcceptor};

use crate::{Env, Settings, socket::Socket};
pub(crate) use files::TlsError;
use files::TlsFiles;
pub(crate) use probe::connect_here;

/// Protocols that the two kinds of port agree on with their callers.
const GRPC: &[u8] = b"h2";
const HTTP: &[u8] = b"http/1.1";

/// What the ports of this program show to their callers; plaintext where there is nothing.
#[derive(Clone, Default)]
pub(crate) struct PortTls {
    /// On each gRPC port.
    pub(crate) grpc: Option<Acceptor>,
    /// On the operations port.
    pub(crate) operations: Option<Acceptor>,
    /// On the port for webhooks.
    pub(crate) inbox: Option<Acceptor>,
}

impl PortTls {
    /// Reads the files of every kind of port, and follows their changes until the program stops.
    pub(crate) fn load(settings: &Settings, env: &Env) -> Result<Self, TlsError> {
        let acceptor = |files: TlsFiles, alpn: &'static [u8]| {
            if !files.shows_a_certificate() {
                return Ok(None);
            }
            let made = reload::follow(files, move |files, contents| files.server(contents, alpn), settings, env)?;
            Ok(Some(Acceptor(made)))
        };
        Ok(Self {
            grpc: acceptor(TlsFiles::of_grpc(settings), GRPC)?,
            operations: acceptor(TlsFiles::of_operations(settings), HTTP)?,
            inbox: acceptor(TlsFiles::of_inbox(settings), HTTP)?,
        })
    }
}

/// Opens TLS on new connections with what holds when they come.
#[derive(Clone)]
pub(crate) struct Acceptor(watch::Receiver<Arc<ServerConfig>>);

impl Acceptor {
    /// A handshake that has not begun.
    pub(crate) fn accept(&self, stream: Socket) -> Accept<Socket> {
        let current = Arc::clone(&self.0.borrow());
        TlsAcceptor::from(current).accept(stream)
    }
}

/// How peers at `https://` URLs are called, following the files until the program stops.
pub(crate) fn peers(settings: &Settings, env: &Env) -> Result<PeerTls, TlsError> {
    let followed = reload::follow(TlsFiles::of_peers(settings), TlsFiles::peers, settings, env)?;
    Ok(PeerTls::following(followed))
}

/// What is wrong with the settings of TLS and with the files they name.
pub(crate) fn problems(settings: &Settings) -> Vec<String> {
    let port = |files: TlsFiles, alpn: &[u8]| match files.half_set(true) {
        Some(problem) => Err(problem),
        None if files.is_empty() => Ok(()),
        None => files.read().and_then(|contents| files.server(&contents, alpn).map(drop)),
    };
    let peers = |files: TlsFiles| match files.half_set(false) {
        Some(problem) => Err(problem),
        None => files.read().and_then(|contents| files.peers(&contents).map(drop)),
    };
    let outcomes = [
        port(TlsFiles::of_grpc(settings), GRPC),
        port(TlsFiles::of_operations(settings), HTTP),
        port(TlsFiles::of_inbox(settings), HTTP),
        peers(TlsFiles::of_peers(settings)),
    ];
    outcomes.into_iter().filter_map(Result::err).flat_map(|error| error.0).collect()
}
