//! Network channels: lazily connected, kept alive, and spread over every address of a name.
//!
//! HTTP/2 keeps one connection, so a name with several addresses (a headless Kubernetes service) has to
//! be balanced here: the name is resolved again and again, and each address is a connection.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http::Uri;
use tokio::sync::mpsc::Sender;
use tonic::transport::{Channel, Endpoint, channel::Change};

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

/// A channel to `http://host:port`: one lazy connection for an IP address or `localhost`, one for each
/// of its addresses for any other name. Must be called inside a Tokio runtime.
pub(super) fn connect(address: &str) -> Result<Channel, AddressError> {
    let uri: Uri = address.parse()?;
    let (Some(host), Some(_)) = (uri.host(), uri.scheme()) else {
        return Err(AddressError::NoHost);
    };
    let host = host.trim_matches(['[', ']']).to_owned();
    if host == "localhost" || host.parse::<IpAddr>().is_ok() {
        return Ok(endpoint(uri).connect_lazy());
    }
    let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
    let (channel, changes) = Channel::balance_channel(CHANGES);
    tokio::spawn(follow(uri, host, port, changes));
    Ok(channel)
}

/// Keeps a balanced channel's addresses those of its name, until the channel is dropped.
async fn follow(uri: Uri, host: String, port: u16, changes: Sender<Change<SocketAddr, Endpoint>>) {
    let mut known = HashSet::new();
    loop {
        // A name that cannot be resolved for a moment keeps the addresses it had.
        match tokio::net::lookup_host((host.as_str(), port)).await {
            Ok(found) => {
                if !apply(&uri, found.collect(), &mut known, &changes).await {
                    return;
                }
            }
            Err(error) => tracing::warn!(host, %error, "cannot resolve a peer's name"),
        }
        tokio::select! {
            () = changes.closed() => return,
            () = tokio::time::sleep(RESOLVE_EVERY) => {}
        }
    }
}

/// Tells the channel what changed; `false` once the channel is gone.
async fn apply(
    uri: &Uri,
    found: HashSet<SocketAddr>,
    known: &mut HashSet<SocketAddr>,
    changes: &Sender<Change<SocketAddr, Endpoint>>,
) -> bool {
    for address in found.difference(known) {
        let Some(endpoint) = endpoint_at(uri, *address) else {
            continue;
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

/// The endpoint of one address, which still calls itself by the name (`:authority`).
fn endpoint_at(uri: &Uri, address: SocketAddr) -> Option<Endpoint> {
    let mut parts = uri.clone().into_parts();
    parts.authority = Some(address.to_string().parse().ok()?);
    parts.path_and_query.get_or_insert_with(|| http::uri::PathAndQuery::from_static("/"));
    Some(endpoint(Uri::from_parts(parts).ok()?).origin(uri.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses_are_checked_when_they_are_configured() {
        for good in ["http://127.0.0.1:7401", "http://[::1]:7401", "http://localhost:1", "http://billing:7403"] {
            assert!(connect(good).is_ok(), "{good}");
        }
        for bad in ["", "billing", "http://", "http://a b"] {
            assert!(connect(bad).is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_changed_name_inserts_and_removes_addresses() {
        let uri: Uri = "http://billing:7403".parse().expect("uri");
        let address = |n: u8| SocketAddr::from(([10, 0, 0, n], 7403));
        let (sender, mut changes) = tokio::sync::mpsc::channel(8);
        let mut known = HashSet::new();
        assert!(apply(&uri, HashSet::from([address(1), address(2)]), &mut known, &sender).await);
        assert!(apply(&uri, HashSet::from([address(2), address(3)]), &mut known, &sender).await);
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
        assert!(!apply(&uri, HashSet::from([address(4)]), &mut known, &sender).await);
    }
}
