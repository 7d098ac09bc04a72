//! A port of HTTP/1.1: that for operations, and that for a payment provider's webhooks. The latter may be reached from
//! everywhere, so nobody keeps a place by being slow: a request's head has a time to come in, a connection brings one request
//! and ends with its answer, which has a time to be taken. Only so many connections are open, and of one address a share, unless
//! it is a proxy that brings everybody's webhooks; one that has not asked anything yet gives way to whoever has clearly fewer
//! ([`Places`](crate::places::Places)). (How long a body takes is the router's affair.)

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::Router;
use hyper::{
    Request,
    body::Incoming as Body,
    server::conn::http1,
    service::{Service as _, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::time::timeout;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{connection::Connection, listen::Incoming};

/// How many connections are open at a time, where the settings allow more: none of them is kept, and each brings a body.
pub(crate) const CONNECTIONS_MAX: usize = 512;

/// What one connection may take.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// How long a request's head may take to come.
    head: Duration,
    /// How long everything may take, the answer with whoever is slow to take it.
    whole: Duration,
}

/// How long a connection may take in all.
pub(crate) const WHOLE_LIMIT: Duration = Duration::from_mins(2);

const BOUNDS: Bounds = Bounds { head: Duration::from_secs(10), whole: WHOLE_LIMIT };

/// Serves until `end` is cancelled; what has begun by then is answered.
pub(crate) async fn serve(incoming: Incoming, router: Router, end: CancellationToken) {
    serve_within(BOUNDS, incoming, router, end).await;
}

async fn serve_within(bounds: Bounds, mut incoming: Incoming, router: Router, end: CancellationToken) {
    let open = TaskTracker::new();
    loop {
        let connection = tokio::select! {
            biased;
            () = end.cancelled() => break,
            connection = incoming.accept() => connection,
        };
        let (router, end) = (router.clone(), end.clone());
        open.spawn(async move { attend(bounds, connection, router, &end).await });
    }
    drop(incoming);
    open.close();
    open.wait().await;
}

/// Answers the one request of a connection: kept alive, a few hundred that ask now and then would keep all places.
async fn attend(bounds: Bounds, connection: Connection, router: Router, end: &CancellationToken) {
    let (work, router) = (connection.work(), TowerToHyperService::new(router));
    // In work until the connection ends: nothing tells when the last of the answer is on its way.
    let asked = Arc::new(OnceLock::new());
    let service = {
        let (asked, work) = (Arc::clone(&asked), work.clone());
        service_fn(move |request: Request<Body>| {
            asked.get_or_init(|| work.begin());
            router.call(request)
        })
    };
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.head)
        .keep_alive(false)
        .serve_connection(TokioIo::new(connection), service);
    let mut serving = std::pin::pin!(serving);
    let ended = timeout(bounds.whole, async {
        tokio::select! {
            ended = serving.as_mut() => ended,
            () = end.cancelled() => {
                serving.as_mut().graceful_shutdown();
                serving.as_mut().await
            }
            () = work.told() => {
                // Whoever has asked nothing yet is owed no answer, and HTTP/1.1 has no farewell.
                if asked.get().is_none() {
                    return Ok(());
                }
                serving.as_mut().graceful_shutdown();
                serving.as_mut().await
            }
        }
    });
    // Anybody can cause these, so they are no warnings.
    match ended.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection of HTTP/1.1 broke"),
        Err(_) => tracing::debug!("a connection of HTTP/1.1 took too long"),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::SocketAddr,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
    };

    use axum::routing::post;
    use bursar_testkit::{STEP, in_steps};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, TcpSocket, TcpStream},
        sync::Semaphore,
        task::JoinHandle,
    };

    use super::*;
    use crate::{
        listen::Ending,
        places::{Kind, Places},
    };

    const REQUEST: &[u8] = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

    async fn start(
        bounds: Bounds,
        connections: usize,
        router: Router,
    ) -> (SocketAddr, CancellationToken, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let end = CancellationToken::new();
        let ending = Ending { shutdown: end.clone(), cut: CancellationToken::new() };
        let places = Places::new(connections, Kind::Connections, "test", &opentelemetry::global::meter("test"));
        let incoming = Incoming::new(listener, None, ending, places);
        (address, end.clone(), tokio::spawn(serve_within(bounds, incoming, router, end)))
    }

    /// Says this, and gives all that is answered until the connection ends.
    async fn say(to: SocketAddr, what: &[u8]) -> String {
        say_from(1, to, what).await
    }

    /// The same from another of this machine's own addresses.
    async fn say_from(host: u8, to: SocketAddr, what: &[u8]) -> String {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::from(([127, 0, 0, host], 0))).expect("an address of this machine");
        let mut stream = socket.connect(to).await.expect("connects");
        stream.write_all(what).await.expect("written");
        let mut answer = Vec::new();
        let _ = timeout(Duration::from_mins(1), stream.read_to_end(&mut answer)).await.expect("it ends");
        String::from_utf8_lossy(&answer).into_owned()
    }

    #[tokio::test]
    async fn a_head_that_never_ends_keeps_no_place() {
        let bounds = Bounds { head: Duration::from_millis(50), ..BOUNDS };
        let (address, end, server) =
            start(bounds, CONNECTIONS_MAX, Router::new().route("/", post(async || "here"))).await;
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
        let (address, end, server) =
            start(bounds, CONNECTIONS_MAX, Router::new().route("/", post(async || "here"))).await;
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
        let (address, end, server) = start(BOUNDS, 2, Router::new().route("/", post(handler))).await;
        // Each has an address of its own, so none has its share already.
        let callers: Vec<_> = (1..=32).map(|host| tokio::spawn(say_from(host, address, REQUEST))).collect();
        for caller in callers {
            let answer = caller.await.expect("no panic");
            assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("here"), "{answer}");
        }
        assert!(seen.load(Ordering::SeqCst) <= 2, "{seen:?}");
        end.cancel();
        server.await.expect("it stops");
    }

    #[tokio::test]
    async fn who_takes_no_answer_keeps_no_place() {
        // Far more than the sockets of both sides hold.
        let router =
            Router::new().route("/long", post(async || vec![b'x'; 64 << 20])).route("/", post(async || "here"));
        let bounds = Bounds { whole: Duration::from_secs(30), ..BOUNDS };
        let (address, end, server) = start(bounds, 1, router).await;
        let mut stuck = TcpStream::connect(address).await.expect("connects");
        stuck.write_all(b"POST /long HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").await.expect("written");
        assert_eq!(stuck.read_u8().await.expect("the answer has begun"), b'H');
        // There is one place, and from now on time passes as soon as there is nothing else to do.
        tokio::time::pause();
        let steps = in_steps(STEP);
        let answer = say_from(2, address, REQUEST).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("here"), "{answer}");
        drop((steps, stuck));
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
        let (address, end, server) = start(BOUNDS, CONNECTIONS_MAX, Router::new().route("/", post(handler))).await;
        let caller = tokio::spawn(say(address, REQUEST));
        let _permit = began.acquire().await.expect("it has begun");
        end.cancel();
        go_on.add_permits(1);
        assert!(caller.await.expect("no panic").ends_with("here"));
        server.await.expect("it stops");
        TcpStream::connect(address).await.expect_err("nobody listens any more");
    }
}
