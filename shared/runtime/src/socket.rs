//! The socket of a connection, which somebody has to read from.

use std::{
    io::{self, Write as _},
    os::fd::AsFd as _,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep},
};

/// How long a caller may take none of the bytes that wait for it.
const STALL_LIMIT: Duration = Duration::from_mins(1);

/// A socket that breaks off when its caller takes nothing for too long.
///
/// HTTP/2 asks whether anybody is there, and says farewell, behind whatever else waits to be taken, so neither ends a
/// connection whose caller never reads. Below TLS, where each byte that is taken shows.
pub(crate) struct Socket {
    stream: TcpStream,
    /// Made when something waits to be taken, and gone as soon as some of it is.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Socket {
    pub(crate) const fn new(stream: TcpStream) -> Self {
        Self { stream, stalled: None }
    }

    /// What was written of `data`, or an error once nothing was for too long.
    fn poll_taken(
        &mut self,
        written: Poll<io::Result<usize>>,
        data: &[u8],
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        // Once it is full, that there is room again says that somebody has read.
        if self.stalled.is_none()
            && let Some(written) = self.write_now(data).transpose()
        {
            return Poll::Ready(written);
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(STALL_LIMIT)));
        ready!(stalled.as_mut().poll(cx));
        self.stalled = None;
        Poll::Ready(self.write_now(data).and_then(|written| written.ok_or_else(|| io::ErrorKind::TimedOut.into())))
    }

    /// Writes what the system takes at this moment; `None`: nothing. It tells of room only when much of what it holds was taken,
    /// which whoever reads slowly may not have done in a minute: that there is some shows when it is used.
    fn write_now(&self, data: &[u8]) -> io::Result<Option<usize>> {
        // The same socket under a second number, for which waiting is off as well.
        match std::net::TcpStream::from(self.stream.as_fd().try_clone_to_owned()?).write(data) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            written => written.map(Some),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, data);
        self.poll_taken(written, data, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, data);
        let first = data.iter().find(|data| !data.is_empty());
        self.poll_taken(written, first.map_or(&[], |first| &**first), cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    // The system takes what is written at once or not at all: there is nothing to flush, and nothing to wait for.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::{io::AsyncReadExt as _, net::TcpListener, time::advance};

    use super::*;

    /// What a write comes to that the system answers like this.
    async fn told(socket: &mut Socket, system: fn() -> Poll<io::Result<usize>>) -> Poll<Result<usize, io::ErrorKind>> {
        let written = poll_fn(|cx| Poll::Ready(socket.poll_taken(system(), b"word", cx))).await;
        written.map_err(|error| error.kind())
    }

    fn waits() -> Poll<io::Result<usize>> {
        Poll::Pending
    }

    /// Has the system take what it can.
    fn fill(socket: &Socket) {
        while socket.write_now(&[0; 4_096]).expect("written").is_some() {}
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_takes_a_byte_has_a_minute_for_the_next() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let stream = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("connects");
        let (mut caller, _) = listener.accept().await.expect("accepted");
        let mut socket = Socket::new(stream);
        assert_eq!(
            told(&mut socket, waits).await,
            Poll::Ready(Ok(4)),
            "there is room, which the system has not told of"
        );
        fill(&socket);
        for _ in 0..3 {
            assert!(told(&mut socket, waits).await.is_pending());
            advance(STALL_LIMIT * 9 / 10).await;
            assert!(told(&mut socket, waits).await.is_pending(), "not yet");
            assert_eq!(told(&mut socket, || Poll::Ready(Ok(1))).await, Poll::Ready(Ok(1)));
        }
        assert!(told(&mut socket, waits).await.is_pending());
        advance(STALL_LIMIT * 11 / 10).await;
        // Somebody reads, if slowly.
        while socket.write_now(b"x").expect("written").is_none() {
            caller.read_exact(&mut [0; 1_024]).await.expect("read");
        }
        assert_eq!(told(&mut socket, waits).await, Poll::Ready(Ok(4)));
        fill(&socket);
        assert!(told(&mut socket, waits).await.is_pending());
        advance(STALL_LIMIT * 11 / 10).await;
        assert_eq!(told(&mut socket, waits).await, Poll::Ready(Err(io::ErrorKind::TimedOut)));
    }
}
