//! Listening: every port is taken before anything else starts, and every connection can be cut.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures::Stream;
use tokio::{
    net::TcpListener,
    time::{Sleep, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::{Service, Settings, connection::Connection, tls::Acceptor};

/// How long accepting pauses when the process has run out of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// A port that could not be taken.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} for {purpose}: {cause}; {advice}")]
pub struct ListenError {
    address: SocketAddr,
    purpose: &'static str,
    cause: &'static str,
    advice: &'static str,
    #[source]
    source: io::Error,
}

impl ListenError {
    fn new(address: SocketAddr, purpose: &'static str, source: io::Error) -> Self {
        let port_advice = if purpose == OPERATIONS {
            "choose another with --operations-port N, or move all ports with --port-base N"
        } else if purpose == INBOX {
            "choose another with payments.stripe.inbox_address"
        } else {
            "move all ports with --port-base N"
        };
        let (cause, advice) = match source.kind() {
            io::ErrorKind::AddrInUse => ("the port is in use (is another bursar running?)", port_advice),
            io::ErrorKind::PermissionDenied => ("this user may not use the port", port_advice),
            io::ErrorKind::AddrNotAvailable => {
                ("this machine has no such address", "set listen_address (--listen-address ADDRESS)")
            }
            _ => ("the system refused", port_advice),
        };
        Self { address, purpose, cause, advice, source }
    }
}

const OPERATIONS: &str = "operations";
const INBOX: &str = "payment webhooks";

/// The ports of one program, all taken.
#[derive(Debug)]
pub struct Listeners {
    pub(crate) operations: TcpListener,
    pub(crate) services: Vec<(Service, TcpListener)>,
    /// For a payment provider's webhooks, where it sends any to this program.
    pub(crate) inbox: Option<TcpListener>,
}

impl Listeners {
    /// Takes the operations port, the port of each of `services` and that for webhooks, or none of them.
    pub async fn bind(settings: &Settings, services: &[Service]) -> Result<Self, ListenError> {
        let operations = bind(settings.operations_listener(), OPERATIONS).await?;
        let mut taken = Vec::with_capacity(services.len());
        for service in services {
            let listener = bind(settings.service_address(*service), service.name()).await?;
            taken.push((*service, listener));
        }
        let inbox = match settings.inbox_listener() {
            Some(address) if services.iter().any(|service| service.takes_payments()) => {
                Some(bind(address, INBOX).await?)
            }
            _ => None,
        };
        Ok(Self { operations, services: taken, inbox })
    }
}

async fn bind(address: SocketAddr, purpose: &'static str) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address).await.map_err(|error| ListenError::new(address, purpose, error))
}

/// How the connections of a listener are told to end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ending {
    /// Those that have not said anything yet break off. (The others finish what they began.)
    pub(crate) shutdown: CancellationToken,
    /// All break off.
    pub(crate) cut: CancellationToken,
}

/// The connections of one listener.
pub(crate) struct Incoming {
    listener: TcpListener,
    /// Opens TLS; plaintext without.
    tls: Option<Acceptor>,
    ending: Ending,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Incoming {
    pub(crate) const fn new(listener: TcpListener, tls: Option<Acceptor>, ending: Ending) -> Self {
        Self { listener, tls, ending, pause: None }
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<(Connection, SocketAddr)> {
        loop {
            if let Some(pause) = &mut self.pause {
                std::task::ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            match std::task::ready!(self.listener.poll_accept(cx)) {
                Ok((stream, peer)) => {
                    // Small messages in both directions: waiting to fill packets only adds latency.
                    let _ = stream.set_nodelay(true);
                    return Poll::Ready((Connection::new(stream, self.tls.as_ref(), &self.ending), peer));
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections");
                    self.pause = Some(Box::pin(sleep(PAUSE)));
                }
            }
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}

impl Stream for Incoming {
    type Item = io::Result<Connection>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_accept(cx).map(|(connection, _)| Some(Ok(connection)))
    }
}

impl axum::serve::Listener for Incoming {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        std::future::poll_fn(|cx| self.poll_accept(cx)).await
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}
