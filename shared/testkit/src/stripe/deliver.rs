//! Delivering webhooks, as Stripe does it: a POST with a signature.

use std::net::SocketAddr;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::Webhook;

/// The header that says by whom and when a body was signed.
pub fn signed(secret: &str, at: i64, body: &[u8]) -> String {
    let mut print = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any key will do");
    print.update(at.to_string().as_bytes());
    print.update(b".");
    print.update(body);
    format!("t={at},v1={}", hex::encode(print.finalize().into_bytes()))
}

/// Delivers a webhook that is signed as it should be, at this time (seconds since 1970). Gives the status of the answer.
pub async fn deliver(to: SocketAddr, webhook: &Webhook, at: i64) -> u16 {
    let body = webhook.body();
    let header = signed(super::FakeStripe::SECRET, at, &body);
    post(to, Some(&header), &body).await
}

/// Posts whatever to the inbox. Gives the status of the answer; 0 where there was none.
pub async fn post(to: SocketAddr, signature: Option<&str>, body: &[u8]) -> u16 {
    let mut stream = TcpStream::connect(to).await.expect("the inbox listens");
    let signature = signature.map(|it| format!("Stripe-Signature: {it}\r\n")).unwrap_or_default();
    let head = format!(
        "POST /webhooks/stripe HTTP/1.1\r\nHost: {to}\r\nContent-Type: application/json; charset=utf-8\r\n{signature}\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    // Whoever refuses a body may close before all of it has come.
    let _ = stream.write_all(&[head.as_bytes(), body].concat()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let text = String::from_utf8_lossy(&answer);
    text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default()
}
