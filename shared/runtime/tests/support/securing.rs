//! A program behind TLS, and callers who look closely at what it shows.

use std::{fs, io, path::Path, sync::Arc, time::Duration};

use bursar_rpc::Transport;
use bursar_runtime::{Env, PaymentProvider, Service, Settings, network_peers};
use bursar_secret::Entropy;
use bursar_testkit::{Authority, Certificate, Ports, get};
use bursar_time::Clock;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::support::{self, Running};

/// How long anything may take that happens by itself.
const PATIENCE: Duration = Duration::from_secs(20);

/// A place for a program with TLS: settings, ports, and a folder with the files.
#[derive(Clone)]
pub(crate) struct Secured {
    settings: Settings,
    ports: Arc<Ports>,
    folder: Arc<tempfile::TempDir>,
    /// Whom both sides believe.
    pub(crate) authority: Arc<Authority>,
}

impl Secured {
    pub(crate) fn new() -> Self {
        let (mut settings, ports) = support::settings();
        let folder = tempfile::tempdir().expect("a folder");
        let authority = Authority::new("of servers");
        fs::write(folder.path().join("ca.crt"), authority.pem()).expect("written");
        settings.tls.certificate_file = Some(folder.path().join("port.crt"));
        settings.tls.key_file = Some(folder.path().join("port.key"));
        settings.peer_tls.ca_file = Some(folder.path().join("ca.crt"));
        settings.tls_reload = Duration::from_millis(100);
        Self { settings, ports: Arc::new(ports), folder: Arc::new(folder), authority: Arc::new(authority) }
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn port(&self) -> u16 {
        self.ports.nth(3)
    }

    pub(crate) fn base(&self) -> u16 {
        self.ports.base()
    }

    /// A port that speaks HTTP.
    pub(crate) fn port_of(&self, port: HttpPort) -> u16 {
        match port {
            HttpPort::Operations => self.base(),
            HttpPort::Webhooks => self.ports.nth(4),
        }
    }

    /// From now on callers need a certificate of this authority.
    pub(crate) fn ask_callers_for_certificates_of(&mut self, clients: &Authority) {
        let file = self.folder().join("clients.crt");
        fs::write(&file, clients.pem()).expect("written");
        self.settings.tls.client_ca_file = Some(file);
    }

    /// What peers are shown from now on.
    pub(crate) fn show_to_peers(&mut self, shown: Option<&Certificate>) {
        let [crt, key] = ["peer.crt", "peer.key"].map(|name| self.folder().join(name));
        if let Some(shown) = shown {
            shown.write(self.folder(), "peer");
        }
        self.settings.peer_tls.certificate_file = shown.map(|_| crt);
        self.settings.peer_tls.key_file = shown.map(|_| key);
    }

    /// The operations port shows the same certificate as the others, and may ask for one.
    pub(crate) fn secure_operations(&mut self, clients: Option<&Authority>) {
        self.settings.operations_tls = self.settings.tls.clone();
        if let Some(clients) = clients {
            let file = self.folder().join("probes.crt");
            fs::write(&file, clients.pem()).expect("written");
            self.settings.operations_tls.client_ca_file = Some(file);
        }
    }

    /// Webhooks come in, and their port shows the same certificate as the others.
    pub(crate) fn secure_webhooks(&mut self) {
        self.settings.payments.provider = PaymentProvider::Stripe;
        self.settings.inbox_tls = self.settings.tls.clone();
    }

    /// Serves with this certificate, once it is ready.
    pub(crate) async fn serve(&self, certificate: &Certificate) -> Running {
        certificate.write(self.folder(), "port");
        Running::start(self.settings.clone(), &self.ports, true).await
    }

    /// Starts with the files as they are: the program's end, which it should not have.
    pub(crate) async fn start(&self) -> anyhow::Result<()> {
        Running::try_start(self.settings.clone()).await
    }

    /// The way of a new program to this one, under a name of its host.
    pub(crate) fn peer(&self, host: &str) -> Transport {
        let mut settings = self.settings.clone();
        settings.urls[Service::Billing] = format!("https://{host}:{}", self.port());
        let env = Env::for_test(Clock::system(), Entropy::system());
        network_peers(&settings, &env).expect("peers").to(Service::Billing)
    }

    /// The value of a metric of `tls` with this label or section, from the operations port.
    pub(crate) async fn metric(&self, name: &str, label: &str) -> Option<usize> {
        let base = self.base();
        let answer = tokio::task::spawn_blocking(move || get(base, "/metrics")).await.expect("no panic");
        let (_, page) = answer.expect("metrics");
        let is_it = |line: &&str| line.starts_with(&format!("{name}{{")) && line.contains(&format!("\"{label}\""));
        page.lines().find(is_it)?.rsplit(' ').next()?.parse().ok()
    }
}

/// The ports that speak HTTP/1.1.
#[derive(Clone, Copy, Debug)]
pub(crate) enum HttpPort {
    Operations,
    Webhooks,
}

impl HttpPort {
    pub(crate) const ALL: [Self; 2] = [Self::Operations, Self::Webhooks];

    /// What is there for whoever asks.
    const fn path(self) -> &'static str {
        match self {
            Self::Operations => "/livez",
            Self::Webhooks => "/webhooks/stripe",
        }
    }
}

/// One call.
pub(crate) async fn call(peer: &Transport) -> Result<(), Code> {
    let mut request = tonic::Request::new(HealthCheckRequest::default());
    request.set_timeout(Duration::from_secs(10));
    HealthClient::new(peer.clone()).check(request).await.map(drop).map_err(|status| status.code())
}

/// Opens a connection, far enough that both sides have believed each other: the server's certificate, or what kept them.
pub(crate) async fn shake(port: u16, trusted: &Authority, shown: Option<&Certificate>) -> Result<Vec<u8>, String> {
    tokio::time::timeout(PATIENCE, try_to_shake(port, trusted, shown))
        .await
        .expect("a handshake ends in time")
        .map_err(|error| error.to_string())
}

/// Asks a port that speaks HTTP/1.1, over a connection of its own: the server's certificate and the answer, or what kept them.
pub(crate) async fn ask(place: &Secured, port: HttpPort) -> Result<(Vec<u8>, String), String> {
    let asking = try_to_ask(place.port_of(port), port.path(), &place.authority);
    tokio::time::timeout(PATIENCE, asking).await.expect("an answer in time").map_err(|error| error.to_string())
}

async fn try_to_ask(port: u16, path: &str, trusted: &Authority) -> io::Result<(Vec<u8>, String)> {
    let mut stream = connect(port, trusted, None, b"http/1.1").await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok((shown_by(&stream), String::from_utf8_lossy(&answer).into_owned()))
}

async fn try_to_shake(port: u16, trusted: &Authority, shown: Option<&Certificate>) -> io::Result<Vec<u8>> {
    let mut stream = connect(port, trusted, shown, b"h2").await?;
    // A server judges its caller after the caller's last word: only an answer says that it was believed.
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await?;
    stream.read_u8().await?;
    Ok(shown_by(&stream))
}

/// A connection over which this protocol is spoken.
async fn connect(
    port: u16,
    trusted: &Authority,
    shown: Option<&Certificate>,
    protocol: &[u8],
) -> io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(trusted.pem().as_bytes()).expect("PEM")).expect("an authority");
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots);
    let mut config = match shown {
        None => builder.with_no_client_auth(),
        Some(shown) => {
            let key = PrivateKeyDer::from_pem_slice(shown.key.as_bytes()).expect("PEM");
            builder.with_client_auth_cert(vec![der(shown).into()], key).expect("a pair")
        }
    };
    config.alpn_protocols = vec![protocol.to_vec()];
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let name = ServerName::try_from("127.0.0.1").expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// The certificate that the server has shown.
fn shown_by(stream: &TlsStream<TcpStream>) -> Vec<u8> {
    let (_, connection) = stream.get_ref();
    connection.peer_certificates().and_then(|chain| chain.first()).expect("a certificate").to_vec()
}

/// The bytes of a certificate as a connection shows them.
pub(crate) fn der(certificate: &Certificate) -> Vec<u8> {
    CertificateDer::from_pem_slice(certificate.chain.as_bytes()).expect("PEM").to_vec()
}

/// Waits until something holds.
pub(crate) async fn eventually(what: &str, holds: impl AsyncFn() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}
