//! The port for a payment provider's webhooks: HTTP/1.1, and nothing else goes over it. It may be reached from everywhere, so
//! nobody keeps a place by being slow: a request's head has a time to come in, a connection brings one request and ends with
//! its answer, and only so many connections are open; the others wait to be accepted. (How long a body takes is the router's
//! affair.)

use std::{sync::Arc, time::Duration};

use axum::{Router, serve::Listener as _};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{connection::Connection, listen::Incoming};

/// What one port bears.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// How long a request's head may take to come.
    head: Duration,
    /// How many connections are open at a time.
    connections: usize,
}

const BOUNDS: Bounds = Bounds { head: Duration::from_secs(10), connections: 512 };

/// Serves until `end` is cancelled; what has begun by then is answered.
pub(crate) async fn serve(incoming: Incoming, router: Router, end: CancellationToken) {
    serve_within(BOUNDS, incoming, router, end).await;
}

async fn serve_within(bounds: Bounds, mut incoming: Incoming, router: Router, end: CancellationToken) {
    let places = Arc::new(Semaphore::new(bounds.connections));
    let open = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = end.cancelled() => break,
            accepted = next(&mut incoming, &places) => accepted,
        };
        let Some((connection, place)) = accepted else { break };
        let (router, end) = (router.clone(), end.clone());
        open.spawn(async move {
            attend(bounds, connection, router, &end).await;
            drop(place);
        });
    }
    drop(incoming);
    open.close();
    open.wait().await;
}

/// The next connection, once there is a place for it; `None` never happens, as nobody closes the places.
async fn next(incoming: &mut Incoming, places: &Arc<Semaphore>) -> Option<(Connection, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    Some((incoming.accept().await.0, place))
}

/// Answers the one request of a connection: kept alive, a few hundred that ask now and then would keep all places.
async fn attend(bounds: Bounds, connection: Connection, router: Router, end: &CancellationToken) {
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.head)
        .keep_alive(false)
        .serve_connection(TokioIo::new(connection), TowerToHyperService::new(router));
    let mut serving = std::pin::pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = end.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        // Anybody can cause this, so it is no warning.
        tracing::debug!(%error, "a connection to the port for payment webhooks broke");
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::SocketAddr,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use axum::routing::post;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, TcpStream},
        task::JoinHandle,
        time::timeout,
    };

    use super::*;
    use crate::listen::Ending;

    const REQUEST: &[u8] = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

    async fn start(bounds: Bounds, router: Router) -> (SocketAddr, CancellationToken, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let end = CancellationToken::new();
        let ending = Ending { shutdown: end.clone(), cut: CancellationToken::new() };
        let incoming = Incoming::new(listener, None, ending);
        (address, end.clone(), tokio::spawn(serve_within(bounds, incoming, router, end)))
    }

    /// Says this, and gives all that is answered until the connection ends.
    async fn say(to: SocketAddr, what: &[u8]) -> String {
        let mut stream = TcpStream::connect(to).await.expect("connects");
        stream.write_all(what).await.expect("written");
        let mut answer = Vec::new();
        let _ = timeout(Duration::from_mins(1), stream.read_to_end(&mut answer)).await.expect("it ends");
        String::from_utf8_lossy(&answer).into_owned()
    }

    #[tokio::test]
    async fn a_head_that_never_ends_keeps_no_place() {
        let bounds = Bounds { head: Duration::from_millis(50), ..BOUNDS };
        let (address, end, server) = start(bounds, Router::new().route("/", post(async || "here"))).await;
        for head in ["POST / HTTP/1.1\r\nhost:", "P", "POST / HTTP/1.1\r\nhost: x\r\nx-one-more: 1\r\n"] {
            let answer = say(address, head.as_bytes()).await;
            assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
        }
        end.cancel();
        server.await.expect("it stops");
    }

    #[tokio::test]
    async fn a_connection_brings_one_request() {
        // No head is too late here: it is the answer that ends the connection.
        let bounds = Bounds { head: Duration::from_mins(10), ..BOUNDS };
        let (address, end, server) = start(bounds, Router::new().route("/", post(async || "here"))).await;
        let request = "POST / HTTP/1.1\r\nhost: x\r\nconnection: keep-alive\r\ncontent-length: 0\r\n\r\n";
        for requests in [1, 2] {
            let answer = say(address, request.repeat(requests).as_bytes()).await;
            assert_eq!(answer.matches("HTTP/1.1 200").count(), 1, "{answer}");
        }
        end.cancel();
        server.await.expect("it stops");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn only_so_many_connections_are_open_and_all_are_answered() {
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let seen = Arc::clone(&most);
        let handler = async move || {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            for _ in 0..200 {
                tokio::task::yield_now().await;
            }
            now.fetch_sub(1, Ordering::SeqCst);
            "here"
        };
        let bounds = Bounds { connections: 2, ..BOUNDS };
        let (address, end, server) = start(bounds, Router::new().route("/", post(handler))).await;
        let callers: Vec<_> = (0..32).map(|_| tokio::spawn(say(address, REQUEST))).collect();
        for caller in callers {
            let answer = caller.await.expect("no panic");
            assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("here"), "{answer}");
        }
        assert!(seen.load(Ordering::SeqCst) <= 2, "{seen:?}");
        end.cancel();
        server.await.expect("it stops");
    }

    #[tokio::test]
    async fn what_has_begun_is_answered_when_the_program_stops() {
        let (began, go_on) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let (tell, wait) = (Arc::clone(&began), Arc::clone(&go_on));
        let handler = async move || {
            tell.add_permits(1);
            let _permit = wait.acquire().await;
            "here"
        };
        let (address, end, server) = start(BOUNDS, Router::new().route("/", post(handler))).await;
        let caller = tokio::spawn(say(address, REQUEST));
        let _permit = began.acquire().await.expect("it has begun");
        end.cancel();
        go_on.add_permits(1);
        assert!(caller.await.expect("no panic").ends_with("here"));
        server.await.expect("it stops");
        TcpStream::connect(address).await.expect_err("nobody listens any more");
    }
}
