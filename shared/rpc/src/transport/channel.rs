//! Network channels: lazily connected, kept alive, and spread over every address of a name.
//!
//! HTTP/2 keeps one connection, so a name with several addresses (a headless Kubernetes service) has to
//! be balanced here: the name is resolved again and again, and each address is a connection.
//!
//! `https://` addresses are spoken to over TLS. Whom a channel trusts and what it shows may change while it lives: each
//! address then gets a new connection, and calls on the one before go on.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http::Uri;
use tokio::sync::mpsc::Sender;
use tokio::sync::watch;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint, channel::Change};

/// How long one connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How often an idle or busy connection is asked whether it is alive.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(20);
/// How long the answer to that may take.
const KEEP_ALIVE_WITHIN: Duration = Duration::from_secs(5);
/// How often a name is resolved again.
const RESOLVE_EVERY: Duration = Duration::from_secs(5);
/// Changes of addresses that may wait for the channel.
const CHANGES: usize = 64;

/// Why an address of a peer cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// It is no URI.
    #[error("is no URI: {0}")]
    Malformed(#[from] http::uri::InvalidUri),
    /// It names no host.
    #[error("needs a scheme and a host, such as http://identity:7401")]
    NoHost,
    /// TLS cannot be spoken to it: the system knows no authorities, or the host is no name for a certificate.
    #[error("cannot be reached over TLS: {0}")]
    Tls(tonic::transport::Error),
}

/// How `https://` peers are called: whom to trust and what to show, as of now and as it changes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PeerTls(watch::Receiver<ClientTlsConfig>);

impl PeerTls {
    /// Trusts the authorities that the system knows, and shows nothing.
    pub fn public() -> Self {
        Self(watch::channel(ClientTlsConfig::new().with_native_roots()).1)
    }

    /// Follows what somebody keeps up to date.
    pub const fn following(config: watch::Receiver<ClientTlsConfig>) -> Self {
        Self(config)
    }

    /// What holds now, for a certificate of `host`. It counts as seen.
    fn take(&mut self, host: &str) -> ClientTlsConfig {
        self.0.borrow_and_update().clone().domain_name(host).timeout(CONNECT_TIMEOUT)
    }

    /// Waits until something else holds than was seen last; for ever if nobody keeps it up to date.
    async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// The settings that every channel has: bounded connecting, and keep-alive, so that a peer which
/// vanished without a word is noticed.
pub(super) fn endpoint(uri: Uri) -> Endpoint {
    Endpoint::from(uri)
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .tcp_keepalive(Some(KEEP_ALIVE_EVERY))
        .http2_keep_alive_interval(KEEP_ALIVE_EVERY)
        .keep_alive_timeout(KEEP_ALIVE_WITHIN)
        .keep_alive_while_idle(true)
}

/// A channel to `http://host:port` or `https://host:port`: one lazy connection for an IP address or `localhost`, one for
/// each of its addresses for any other name. Must be called inside a Tokio runtime.
pub(super) fn connect(address: &str, tls: &PeerTls) -> Result<Channel, AddressError> {
    let uri: Uri = address.parse()?;
    let (Some(host), Some(scheme)) = (uri.host(), uri.scheme_str()) else {
        return Err(AddressError::NoHost);
    };
    let host = host.trim_matches(['[', ']']).to_owned();
    let is_one_place = host == "localhost" || host.parse::<IpAddr>().is_ok();
    let secured = scheme == "https";
    let port = uri.port_u16().unwrap_or(if secured { 443 } else { 80 });
    let mut tls = secured.then(|| tls.clone());
    let secure = tls.as_mut().map(|tls| tls.take(&host));
    // What cannot work is told when it is configured, not when it is first used.
    let first = endpoint_at(&uri, None, secure.as_ref())?;
    if is_one_place && !secured {
        return Ok(first.connect_lazy());
    }
    let (channel, changes) = Channel::balance_channel(CHANGES);
    let name = Name { uri, host, port, is_one_place };
    tokio::spawn(follow(name, tls, secure, changes));
    Ok(channel)
}

/// What a channel leads to.
struct Name {
    uri: Uri,
    host: String,
    port: u16,
    /// Whether there is nothing to resolve.
    is_one_place: bool,
}

/// One address of a name; none is the name itself.
type At = Option<SocketAddr>;

impl Name {
    async fn resolve(&self) -> std::io::Result<HashSet<At>> {
        if self.is_one_place {
            return Ok(HashSet::from([None]));
        }
        Ok(tokio::net::lookup_host((self.host.as_str(), self.port)).await?.map(Some).collect())
    }
}

/// Keeps a balanced channel's addresses those of its name, and their TLS as it is to be, until the channel is dropped.
async fn follow(
    name: Name,
    mut tls: Option<PeerTls>,
    mut secure: Option<ClientTlsConfig>,
    changes: Sender<Change<At, Endpoint>>,
) {
    let mut known = HashSet::new();
    let mut renew = false;
    loop {
        // A name that cannot be resolved for a moment keeps the addresses it had.
        match name.resolve().await {
            Ok(found) => {
                let make = |address| endpoint_at(&name.uri, address, secure.as_ref());
                if !apply(make, renew, found, &mut known, &changes).await {
                    return;
                }
                renew = false;
            }
            Err(error) => tracing::warn!(host = name.host, %error, "cannot resolve a peer's name"),
        }
        tokio::select! {
            () = changes.closed() => return,
            () = tokio::time::sleep(RESOLVE_EVERY) => {}
            () = changed(&mut tls) => {
                secure = tls.as_mut().map(|tls| tls.take(&name.host));
                renew = true;
            }
        }
    }
}

async fn changed(tls: &mut Option<PeerTls>) {
    match tls {
        Some(tls) => tls.changed().await,
        None => std::future::pending().await,
    }
}

/// Tells the channel what changed; `false` once the channel is gone. `renew`: every address gets a new connection, which
/// takes the place of the one before.
async fn apply(
    make: impl Fn(At) -> Result<Endpoint, AddressError>,
    renew: bool,
    found: HashSet<At>,
    known: &mut HashSet<At>,
    changes: &Sender<Change<At, Endpoint>>,
) -> bool {
    for address in found.iter().filter(|address| renew || !known.contains(*address)) {
        let endpoint = match make(*address) {
            Ok(endpoint) => endpoint,
            Err(error) => {
                tracing::warn!(?address, %error, "cannot call a peer");
                continue;
            }
        };
        if changes.send(Change::Insert(*address, endpoint)).await.is_err() {
            return false;
        }
    }
    for address in known.difference(&found) {
        if changes.send(Change::Remove(*address)).await.is_err() {
            return false;
        }
    }
    *known = found;
    true
}

/// The endpoint of one address, which still calls itself by the name (`:authority`, and the name that the peer's
/// certificate must be for).
fn endpoint_at(uri: &Uri, address: At, secure: Option<&ClientTlsConfig>) -> Result<Endpoint, AddressError> {
    let mut made = match address {
        None => endpoint(uri.clone()),
        Some(address) => {
            let mut parts = uri.clone().into_parts();
            parts.authority = address.to_string().parse().ok();
            parts.path_and_query.get_or_insert_with(|| http::uri::PathAndQuery::from_static("/"));
            let at = Uri::from_parts(parts).map_err(|_| AddressError::NoHost)?;
            endpoint(at).origin(uri.clone())
        }
    };
    if let Some(secure) = secure {
        made = made.tls_config(secure.clone()).map_err(AddressError::Tls)?;
    }
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses_are_checked_when_they_are_configured() {
        for good in ["http://127.0.0.1:7401", "http://[::1]:7401", "http://localhost:1", "http://billing:7403"] {
            assert!(connect(good, &PeerTls::public()).is_ok(), "{good}");
        }
        for bad in ["", "billing", "http://", "http://a b", "https://a_b..c:1"] {
            assert!(connect(bad, &PeerTls::public()).is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_changed_name_inserts_and_removes_addresses() {
        let uri: Uri = "http://billing:7403".parse().expect("uri");
        let address = |n: u8| Some(SocketAddr::from(([10, 0, 0, n], 7403)));
        let make = |address| endpoint_at(&uri, address, None);
        let (sender, mut changes) = tokio::sync::mpsc::channel(8);
        let mut known = HashSet::new();
        assert!(apply(make, false, HashSet::from([address(1), address(2)]), &mut known, &sender).await);
        assert!(apply(make, false, HashSet::from([address(2), address(3)]), &mut known, &sender).await);
        let (mut inserted, mut removed) = (HashSet::new(), HashSet::new());
        while let Ok(change) = changes.try_recv() {
            match change {
                Change::Insert(at, endpoint) => {
                    assert_eq!(endpoint.uri().port_u16(), Some(7403));
                    inserted.insert(at);
                }
                Change::Remove(at) => {
                    removed.insert(at);
                }
            }
        }
        assert_eq!(inserted, HashSet::from([address(1), address(2), address(3)]));
        assert_eq!(removed, HashSet::from([address(1)]));
        drop(changes);
        assert!(!apply(make, false, HashSet::from([address(4)]), &mut known, &sender).await);
    }

    #[tokio::test]
    async fn each_address_must_show_the_certificate_of_the_name() {
        use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};
        let made = rcgen::generate_simple_self_signed(["billing.test".to_owned()]).expect("a certificate");
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let shows = ServerTlsConfig::new().identity(Identity::from_pem(&certificate, key));
        let (_, health) = tonic_health::server::health_reporter();
        let server = Server::builder().tls_config(shows).expect("TLS").add_service(health);
        tokio::spawn(server.serve_with_incoming(tokio_stream::wrappers::TcpListenerStream::new(listener)));

        // One of a name's addresses, as they are found when it is resolved; whether it is who it should be.
        let trusting = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&certificate));
        for (host, believed) in [("billing.test", true), ("identity.test", false)] {
            let uri: Uri = format!("https://{host}:{}", address.port()).parse().expect("a URI");
            let tls = PeerTls::following(watch::channel(trusting.clone()).1).take(host);
            let endpoint = endpoint_at(&uri, Some(address), Some(&tls)).expect("an endpoint");
            let outcome = endpoint.connect().await;
            assert_eq!(outcome.is_ok(), believed, "{host}: {outcome:?}");
        }
        // Once more with the system's authorities, of which none has vouched for it.
        let uri: Uri = format!("https://billing.test:{}", address.port()).parse().expect("a URI");
        let endpoint = endpoint_at(&uri, Some(address), Some(&PeerTls::public().take("billing.test")));
        endpoint.expect("an endpoint").connect().await.expect_err("nobody vouches for it");
    }

    #[tokio::test]
    async fn what_a_channel_shows_is_renewed_at_every_address() {
        let uri: Uri = "https://billing:7403".parse().expect("uri");
        let address = |n: u8| Some(SocketAddr::from(([10, 0, 0, n], 7403)));
        let (sender, mut changes) = tokio::sync::mpsc::channel(8);
        let make = |address| endpoint_at(&uri, address, None);
        let mut known = HashSet::from([address(1), address(2)]);
        assert!(apply(make, true, HashSet::from([address(2), address(3)]), &mut known, &sender).await);
        let (mut inserted, mut removed) = (HashSet::new(), HashSet::new());
        while let Ok(change) = changes.try_recv() {
            match change {
                Change::Insert(at, _) => inserted.insert(at),
                Change::Remove(at) => removed.insert(at),
            };
        }
        assert_eq!(inserted, HashSet::from([address(2), address(3)]));
        assert_eq!(removed, HashSet::from([address(1)]));
    }
}
