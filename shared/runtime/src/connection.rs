//! One connection to a port: plaintext or TLS, with a place, bounded until it has opened, and possible to cut.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{Accept, server::TlsStream};
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::transport::server::{Connected, TcpConnectInfo};

use crate::{listen::Ending, places::Place, tls::Acceptor};

/// How long a new connection may take until it has opened. Over TLS the handshake is included.
const SILENCE_LIMIT: Duration = Duration::from_secs(20);

/// A connection that breaks off when it is cut, or when it takes too long to open.
///
/// HTTP/2's own keep-alive and farewell start with the first frame, so without this a client that connects
/// and stays silent, or stops in the middle of the preface, would keep its place for ever, and would keep a stopping
/// server waiting.
pub(crate) struct Connection {
    line: Line,
    ends: TcpConnectInfo,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Until it has opened.
    silence: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// With so many bytes more it has.
    opening: usize,
    /// The last field: it is given back when the socket is closed.
    _place: Place,
}

/// What carries the bytes. The handshake belongs to the connection's own task, so that one caller who is slow at it
/// keeps nobody else waiting.
enum Line {
    Plain(TcpStream),
    Shaking(Box<Accept<TcpStream>>),
    Secured(Box<TlsStream<TcpStream>>),
    /// The handshake has failed.
    Broken,
}

/// What can carry bytes by now.
trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

impl Connection {
    /// Opens with so many bytes (of what is said by TLS, where there is any).
    pub(crate) fn new(
        stream: TcpStream,
        tls: Option<&Acceptor>,
        ending: &Ending,
        opening: usize,
        place: Place,
    ) -> Self {
        let shutdown = ending.shutdown.clone();
        Self {
            ends: stream.connect_info(),
            line: match tls {
                None => Line::Plain(stream),
                Some(acceptor) => Line::Shaking(Box::new(acceptor.accept(stream))),
            },
            cut: Box::pin(ending.cut.clone().cancelled_owned()),
            silence: Some(Box::pin(async move {
                let _ = tokio::time::timeout(SILENCE_LIMIT, shutdown.cancelled()).await;
            })),
            opening,
            _place: place,
        }
    }

    /// Waiting is over when the connection is cut, or has taken too long to open.
    fn poll_patience<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        let cut = self.cut.as_mut().poll(cx).is_ready();
        let silent = self.silence.as_mut().is_some_and(|silence| silence.as_mut().poll(cx).is_ready());
        if cut || silent { Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())) } else { Poll::Pending }
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
            if self.opening == 0 {
                self.silence = None;
            }
            return Poll::Ready(read);
        }
        self.poll_patience(cx)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_stream(cx))?.poll_write(cx, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_stream(cx))?.poll_write_vectored(cx, data)
    }

    fn is_write_vectored(&self) -> bool {
        // TLS gathers what it is given into records by itself.
        !matches!(self.line, Line::Broken)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_stream(cx))?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.line {
            Line::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            // TLS has a word of farewell, which a caller who reads nothing any more must not hold up.
            Line::Secured(stream) => match Pin::new(stream.as_mut()).poll_shutdown(cx) {
                Poll::Pending => self.poll_patience(cx),
                said @ Poll::Ready(_) => said,
            },
            // There is nobody to say farewell to yet, or any more.
            Line::Shaking(_) | Line::Broken => Poll::Ready(Ok(())),
        }
    }
}
