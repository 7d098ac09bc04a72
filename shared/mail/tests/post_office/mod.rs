//! An SMTP server for tests: takes mail and lets the test decide what it answers.

use std::time::Duration;

use bursar_mail::Transport;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};

/// What the server says to a mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reply {
    Accept,
    TryLater,
    NotAllowed,
    NoSuchMailbox,
}

/// A mail that was handed over and waits for its answer.
pub(crate) struct Handed {
    pub(crate) to: String,
    pub(crate) text: String,
    reply: oneshot::Sender<Reply>,
}

impl Handed {
    /// Answers the courier; it may be dead already.
    pub(crate) fn answer(&mut self, reply: Reply) {
        let (unused, _) = oneshot::channel();
        let _ = std::mem::replace(&mut self.reply, unused).send(reply);
    }
}

pub(crate) struct PostOffice {
    port: u16,
    counter: mpsc::UnboundedReceiver<Handed>,
}

impl PostOffice {
    pub(crate) async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let port = listener.local_addr().expect("bound").port();
        let (hand, counter) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, hand.clone()));
            }
        });
        Self { port, counter }
    }

    pub(crate) fn transport(&self) -> Transport {
        Transport::smtp(&format!("smtp://127.0.0.1:{}", self.port)).expect("a good address")
    }

    /// The next mail that is handed over.
    pub(crate) async fn next(&mut self, patience: Duration) -> Handed {
        tokio::time::timeout(patience, self.counter.recv()).await.expect("no mail came").expect("open")
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.counter.is_empty()
    }
}

async fn serve(stream: TcpStream, hand: mpsc::UnboundedSender<Handed>) -> Option<()> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    write.write_all(b"220 test\r\n").await.ok()?;
    let mut to = String::new();
    while let Some(line) = lines.next_line().await.ok()? {
        let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        let answer = match verb.as_str() {
            "EHLO" => "250-test\r\n250 8BITMIME\r\n",
            "RCPT" => {
                to = line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
                "250 ok\r\n"
            }
            "DATA" => {
                write.write_all(b"354 go on\r\n").await.ok()?;
                let mut text = String::new();
                loop {
                    let line = lines.next_line().await.ok()??;
                    if line == "." {
                        break;
                    }
                    text.push_str(&line);
                    text.push('\n');
                }
                let (reply, answer) = oneshot::channel();
                hand.send(Handed { to: to.clone(), text, reply }).ok()?;
                match answer.await.ok()? {
                    Reply::Accept => "250 ok\r\n",
                    Reply::TryLater => "451 busy\r\n",
                    Reply::NotAllowed => "530 authenticate first\r\n",
                    Reply::NoSuchMailbox => "550 no such mailbox\r\n",
                }
            }
            "QUIT" => "221 bye\r\n",
            _ => "250 ok\r\n",
        };
        write.write_all(answer.as_bytes()).await.ok()?;
    }
    Some(())
}
