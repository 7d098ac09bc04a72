//! One connection to a port: plaintext or TLS, with a place, bounded until it has opened and while its caller takes nothing, and
//! possible to cut whatever it waits for.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, sleep, sleep_until},
};
use tokio_rustls::{Accept, server::TlsStream};
use tonic::transport::server::{Connected, TcpConnectInfo};

use crate::{
    listen::Ending,
    places::{Place, Work},
    socket::Socket,
    tls::Acceptor,
};

/// How long a new connection may take until it has opened. Over TLS the handshake is included.
const SILENCE_LIMIT: Duration = Duration::from_secs(20);
/// How long a connection may take to end that gives way, since the last call that came before its caller had heard of it: as long as
/// one has when the program stops and nobody has set another time for that.
const FAREWELL_LIMIT: Duration = Duration::from_secs(6);

/// What a connection has to do, and may.
#[derive(Clone, Copy)]
pub(crate) struct Terms {
    /// With so many bytes it has opened (of what is said by TLS, where there is any).
    pub(crate) opening: usize,
    /// How long a call may take: so much longer may one end that gives way.
    pub(crate) call: Duration,
}

/// The end of what is waited for.
type Patience = Option<Pin<Box<dyn Future<Output = ()> + Send>>>;

/// A connection that breaks off when it is cut, or when it takes too long to open, or to end once it shall give way.
///
/// HTTP/2's own keep-alive and farewell start with the first frame, so without this a client that connects
/// and stays silent, or stops in the middle of the preface, would keep its place for ever, and would keep a stopping
/// server waiting. (Whoever never reads, before or after that, is the [`Socket`]'s affair.)
pub(crate) struct Connection {
    line: Line,
    ends: TcpConnectInfo,
    cut: Patience,
    /// Until it has opened.
    silence: Patience,
    /// One of them is.
    over: bool,
    /// With so many bytes more it has.
    opening: usize,
    /// The last field: it is given back when the socket is closed.
    place: Place,
}

/// What carries the bytes. The handshake belongs to the connection's own task, so that one caller who is slow at it
/// keeps nobody else waiting.
enum Line {
    Plain(Socket),
    Shaking(Box<Accept<Socket>>),
    Secured(Box<TlsStream<Socket>>),
    /// The handshake has failed.
    Broken,
}

/// What can carry bytes by now.
trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

impl Connection {
    pub(crate) fn new(stream: TcpStream, tls: Option<&Acceptor>, ending: &Ending, terms: Terms, place: Place) -> Self {
        let Ending { shutdown, cut } = ending.clone();
        let (work, opened) = (place.work(), place.work());
        Self {
            ends: stream.connect_info(),
            line: match (tls, Socket::new(stream)) {
                (None, socket) => Line::Plain(socket),
                (Some(acceptor), socket) => Line::Shaking(Box::new(acceptor.accept(socket))),
            },
            cut: Some(Box::pin(async move {
                tokio::select! {
                    () = cut.cancelled() => {}
                    () = farewell(work, terms.call) => {}
                }
            })),
            silence: Some(Box::pin(async move {
                tokio::select! {
                    () = sleep(SILENCE_LIMIT) => {}
                    () = shutdown.cancelled() => {}
                    () = opened.told() => {}
                }
            })),
            over: false,
            opening: terms.opening,
            place,
        }
    }

    /// What is done at its place.
    pub(crate) fn work(&self) -> Work {
        self.place.work()
    }

    /// Waiting is over when the connection is cut, or has taken too long to open or to end.
    fn poll_patience<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        for patience in [&mut self.cut, &mut self.silence] {
            if patience.as_mut().is_some_and(|end| end.as_mut().poll(cx).is_ready()) {
                *patience = None;
                self.over = true;
            }
        }
        if self.over { Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())) } else { Poll::Pending }
    }

    /// What came of it, with patience where it has to wait.
    fn patiently<T>(&mut self, cx: &mut Context<'_>, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if done.is_pending() { self.poll_patience(cx) } else { done }
    }

    /// The stream, once a handshake has ended.
    fn poll_stream(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Pin<&mut dyn Stream>>> {
        if let Line::Shaking(accept) = &mut self.line {
            match Pin::new(accept.as_mut()).poll(cx) {
                Poll::Pending => return self.poll_patience(cx),
                Poll::Ready(Ok(stream)) => self.line = Line::Secured(Box::new(stream)),
                Poll::Ready(Err(error)) => {
                    // Anybody can cause this, so it is no warning.
                    tracing::debug!(caller = ?self.ends.remote_addr(), %error, "a handshake has failed");
                    self.line = Line::Broken;
                    return Poll::Ready(Err(error));
                }
            }
        }
        Poll::Ready(match &mut self.line {
            Line::Plain(stream) => Ok(Pin::new(stream)),
            Line::Secured(stream) => Ok(Pin::new(stream.as_mut())),
            Line::Shaking(_) | Line::Broken => Err(io::ErrorKind::NotConnected.into()),
        })
    }
}

/// Comes when a connection that gives way has had its time: a while from when it is told, and another one once no call is in work,
/// but no longer than a call may take beyond that. Whoever has not heard of it yet may begin one, which would be cut before its end
/// otherwise; whoever goes on beginning them gains that one while at most.
async fn farewell(work: Work, call: Duration) {
    work.told().await;
    let end = Instant::now() + FAREWELL_LIMIT + call;
    let before = work.idle();
    loop {
        sleep_until(end.min(Instant::now() + FAREWELL_LIMIT)).await;
        let idle = work.idle();
        if Instant::now() >= end || (idle.is_some() && idle == before) {
            return;
        }
        if idle.is_some() {
            break;
        }
    }
    sleep_until(end.min(Instant::now() + FAREWELL_LIMIT)).await;
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.ends.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // Whoever has something to say is heard first: the rest is asked only when a read would wait.
        let before = buffer.filled().len();
        if let Poll::Ready(read) = ready!(self.poll_stream(cx))?.poll_read(cx, buffer) {
            self.opening = self.opening.saturating_sub(buffer.filled().len().saturating_sub(before));
            if self.opening == 0 && self.silence.take().is_some() {
                self.place.open();
            }
            return Poll::Ready(read);
        }
        self.poll_patience(cx)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(self.poll_stream(cx))?.poll_write(cx, data);
        self.patiently(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(self.poll_stream(cx))?.poll_write_vectored(cx, data);
        self.patiently(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        // TLS gathers what it is given into records by itself.
        !matches!(self.line, Line::Broken)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = ready!(self.poll_stream(cx))?.poll_flush(cx);
        self.patiently(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let said = match &mut self.line {
            Line::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            // TLS has a word of farewell, which a caller who reads nothing any more must not hold up.
            Line::Secured(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
            // There is nobody to say farewell to yet, or any more.
            Line::Shaking(_) | Line::Broken => Poll::Ready(Ok(())),
        };
        self.patiently(cx, said)
    }
}

#[cfg(test)]
mod tests {
    use bursar_rpc::Origin;
    use bursar_testkit::{STEP, in_steps};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, TcpSocket},
        time::timeout,
    };

    use super::*;
    use crate::places::{Kind, Places};

    const TERMS: Terms = Terms { opening: 1, call: Duration::from_mins(1) };

    /// A connection that has opened, and its caller's end, which has little room for what is not read yet.
    async fn connected(ending: &Ending) -> (Connection, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4_096).expect("a small buffer");
        let caller = socket.connect(address).await.expect("connects");
        let (stream, peer) = listener.accept().await.expect("accepted");
        let places = Places::new(2, Kind::Connections, "test", &opentelemetry::global::meter("test"));
        let place = places.take(Origin::at(peer.ip())).expect("room");
        let mut connection = Connection::new(stream, None, ending, TERMS, place);
        connection.silence = None;
        (connection, caller)
    }

    /// Writes until an error ends it.
    async fn write_on(connection: &mut Connection) -> io::Error {
        let data = vec![b'x'; 64 * 1024];
        loop {
            if let Err(error) = connection.write_all(&data).await {
                return error;
            }
        }
    }

    #[tokio::test]
    async fn who_takes_nothing_is_given_up() {
        let (mut connection, caller) = connected(&Ending::default()).await;
        tokio::time::pause();
        let steps = in_steps(STEP);
        // The system goes on putting away what it holds for a moment, which is as if somebody read.
        let error = timeout(Duration::from_mins(10), write_on(&mut connection)).await.expect("it ends");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop((steps, caller));
    }

    #[tokio::test]
    async fn what_waits_to_be_taken_can_be_cut() {
        let ending = Ending::default();
        let (mut connection, caller) = connected(&ending).await;
        tokio::time::pause();
        let steps = in_steps(STEP);
        let waiting = timeout(Duration::from_secs(1), write_on(&mut connection)).await;
        waiting.expect_err("nobody takes it");
        ending.cut.cancel();
        let error = timeout(Duration::from_secs(1), write_on(&mut connection)).await.expect("it ends");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
        drop((steps, caller));
    }

    /// What comes of reading so long from a connection whose caller says nothing.
    async fn read_for(time: Duration, connection: &mut Connection) -> Option<io::ErrorKind> {
        let read = timeout(time, connection.read_u8()).await.ok()?;
        Some(read.expect_err("nothing is said").kind())
    }

    #[tokio::test]
    async fn a_call_that_came_before_the_farewell_was_heard_has_its_time() {
        let (mut connection, caller) = connected(&Ending::default()).await;
        tokio::time::pause();
        let work = connection.work();
        work.tell();
        let call = work.begin();
        assert_eq!(read_for(FAREWELL_LIMIT * 3, &mut connection).await, None, "it is in work");
        drop(call);
        assert_eq!(read_for(FAREWELL_LIMIT * 9 / 10, &mut connection).await, None, "its answer may be on its way");
        let cut = read_for(FAREWELL_LIMIT * 2, &mut connection).await;
        assert_eq!(cut, Some(io::ErrorKind::ConnectionAborted));
        drop(caller);
    }

    #[tokio::test]
    async fn whoever_begins_one_call_after_the_other_after_the_farewell_is_cut_soon() {
        let (mut connection, caller) = connected(&Ending::default()).await;
        tokio::time::pause();
        let work = connection.work();
        work.tell();
        let (mut ended, every) = (None, FAREWELL_LIMIT / 2);
        for _ in 0..5 {
            drop(work.begin());
            ended = ended.or(read_for(every, &mut connection).await);
        }
        assert_eq!(ended, Some(io::ErrorKind::ConnectionAborted));
        drop(caller);
    }

    #[tokio::test]
    async fn a_call_that_does_not_end_after_the_farewell_is_cut_when_it_has_had_its_time() {
        let (mut connection, caller) = connected(&Ending::default()).await;
        tokio::time::pause();
        let work = connection.work();
        work.tell();
        let _call = work.begin();
        assert_eq!(read_for(TERMS.call, &mut connection).await, None);
        let cut = read_for(FAREWELL_LIMIT * 2, &mut connection).await;
        assert_eq!(cut, Some(io::ErrorKind::ConnectionAborted));
        drop(caller);
    }
}
