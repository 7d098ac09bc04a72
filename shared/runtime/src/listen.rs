//! Listening: every port is taken before anything else starts, so many connections have places, and every one can be cut, also while
//! it waits for its caller to take something.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bursar_rpc::Origin;
use tokio::{
    net::TcpListener,
    time::{Sleep, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Service, Settings,
    connection::{Connection, Terms},
    http_port,
    places::Places,
    tls::Acceptor,
};

/// How long accepting pauses when the process has run out of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);
/// Bytes with which every connection of HTTP/2 begins (RFC 9113, 3.4). Once they are there its keep-alive asks who is silent.
const HTTP2_PREFACE: usize = 24;

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

/// How the connections of a listener are told to end, all at once.
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
    /// How many may be open, and how many of one address.
    places: Places,
    terms: Terms,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Incoming {
    pub(crate) const fn new(listener: TcpListener, tls: Option<Acceptor>, ending: Ending, places: Places) -> Self {
        let terms = Terms { opening: 1, call: http_port::WHOLE_LIMIT };
        Self { listener, tls, ending, places, terms, pause: None }
    }

    /// For connections of HTTP/2, of which nothing else ends one whose preface never comes to an end. A call may take so long.
    pub(crate) fn of_http2(mut self, call: Duration) -> Self {
        self.terms = Terms { opening: HTTP2_PREFACE, call };
        self
    }

    /// The next connection that has a place.
    pub(crate) async fn accept(&mut self) -> Connection {
        std::future::poll_fn(|cx| self.poll_accept(cx)).await
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Connection> {
        loop {
            if let Some(pause) = &mut self.pause {
                std::task::ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            // While all are taken and none gives way the system keeps those who come: nobody among them could have one.
            std::task::ready!(self.places.poll_free(cx));
            match std::task::ready!(self.listener.poll_accept(cx)) {
                Ok((stream, peer)) => {
                    // Whoever has its share is closed at once.
                    if let Some(place) = self.places.take(Origin::at(peer.ip())) {
                        // Small messages in both directions: waiting to fill packets only adds latency.
                        let _ = stream.set_nodelay(true);
                        let tls = self.tls.as_ref();
                        return Poll::Ready(Connection::new(stream, tls, &self.ending, self.terms, place));
                    }
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
