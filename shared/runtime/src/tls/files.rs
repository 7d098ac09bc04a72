//! The files of one section of the settings, and what is made of them.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use bursar_secret::Secret;
use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
    sign::CertifiedKey,
};
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use crate::{PeerTlsSettings, Settings, TlsSettings};

/// What is wrong with the files of a section, each by its setting. Holds nothing of what is in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TlsError(pub(crate) Vec<String>);

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

impl std::error::Error for TlsError {}

/// The files of one section of the settings.
#[derive(Debug, Clone)]
pub(crate) struct TlsFiles {
    /// The section's name.
    pub(super) section: &'static str,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    ca: Option<PathBuf>,
    /// The setting of `ca`, within the section.
    ca_key: &'static str,
}

/// What was in them.
#[derive(PartialEq)]
pub(crate) struct Contents {
    certificate: Option<Vec<u8>>,
    key: Option<Secret<Vec<u8>>>,
    ca: Option<Vec<u8>>,
}

impl TlsFiles {
    /// Those of the gRPC ports.
    pub(crate) fn of_grpc(settings: &Settings) -> Self {
        Self::of_port("tls", &settings.tls)
    }

    /// Those of the operations port.
    pub(crate) fn of_operations(settings: &Settings) -> Self {
        Self::of_port("operations_tls", &settings.operations_tls)
    }

    /// Those of the port for webhooks.
    pub(crate) fn of_inbox(settings: &Settings) -> Self {
        Self::of_port("inbox_tls", &settings.inbox_tls)
    }

    fn of_port(section: &'static str, files: &TlsSettings) -> Self {
        let TlsSettings { certificate_file, key_file, client_ca_file } = files.clone();
        Self { section, certificate: certificate_file, key: key_file, ca: client_ca_file, ca_key: "client_ca_file" }
    }

    /// Those of calls to peers.
    pub(crate) fn of_peers(settings: &Settings) -> Self {
        let PeerTlsSettings { ca_file, certificate_file, key_file } = settings.peer_tls.clone();
        Self { section: "peer_tls", certificate: certificate_file, key: key_file, ca: ca_file, ca_key: "ca_file" }
    }

    /// Whether there is a certificate to show.
    pub(crate) const fn shows_a_certificate(&self) -> bool {
        self.certificate.is_some()
    }

    /// Whether there is nothing to read, now and later.
    pub(crate) const fn is_empty(&self) -> bool {
        self.certificate.is_none() && self.key.is_none() && self.ca.is_none()
    }

    /// What the settings alone show to be wrong: a certificate without its key, or the other way round. A port
    /// (`needs_certificate`) cannot ask for certificates either without one of its own.
    pub(super) fn half_set(&self, needs_certificate: bool) -> Option<TlsError> {
        let lacks = |missing: &str, given: &str| {
            let section = self.section;
            Some(TlsError(vec![format!("{section}.{missing}: must be set where {section}.{given} is")]))
        };
        match (&self.certificate, &self.key, &self.ca) {
            (Some(_), None, _) => lacks("key_file", "certificate_file"),
            (None, Some(_), _) => lacks("certificate_file", "key_file"),
            (None, None, Some(_)) if needs_certificate => lacks("certificate_file", self.ca_key),
            _ => None,
        }
    }

    /// Reads all of them.
    pub(crate) fn read(&self) -> Result<Contents, TlsError> {
        let mut problems = Vec::new();
        let mut read = |key: &str, path: Option<&Path>| {
            let path = path?;
            let outcome = fs::read(path);
            outcome.map_err(|error| problems.push(self.problem(key, path, &error))).ok()
        };
        let certificate = read("certificate_file", self.certificate.as_deref());
        let key = read("key_file", self.key.as_deref()).map(Secret::new);
        let ca = read(self.ca_key, self.ca.as_deref());
        if problems.is_empty() { Ok(Contents { certificate, key, ca }) } else { Err(TlsError(problems)) }
    }

    fn problem(&self, key: &str, path: &Path, cause: &dyn fmt::Display) -> String {
        format!("{}.{key}: {}: {cause}", self.section, path.display())
    }

    fn refused(&self, key: &str, path: Option<&PathBuf>, cause: &dyn fmt::Display) -> TlsError {
        TlsError(vec![self.problem(key, path.map_or(Path::new(""), PathBuf::as_path), cause)])
    }

    /// What a port shows and asks for, speaking `alpn`.
    pub(crate) fn server(&self, contents: &Contents, alpn: &[u8]) -> Result<Arc<ServerConfig>, TlsError> {
        let provider = provider();
        let (chain, key) = self.pair(contents)?;
        let of_certificate =
            |error: &dyn fmt::Display| self.refused("certificate_file", self.certificate.as_ref(), error);
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| of_certificate(&error))?;
        let builder = match self.roots(contents)? {
            None => builder.with_no_client_auth(),
            Some(roots) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                let verifier = verifier.map_err(|error| self.refused(self.ca_key, self.ca.as_ref(), &error))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|error| of_certificate(&error))?;
        config.alpn_protocols = vec![alpn.to_vec()];
        Ok(Arc::new(config))
    }

    /// Whom calls to peers trust and what they show.
    pub(crate) fn peers(&self, contents: &Contents) -> Result<ClientTlsConfig, TlsError> {
        // tonic passes over what it cannot read; here it is refused.
        let own = self.roots(contents)?;
        let mut config = ClientTlsConfig::new();
        config = match &contents.ca {
            Some(ca) if own.is_some() => config.ca_certificate(Certificate::from_pem(ca)),
            _ => config.with_native_roots(),
        };
        if let (Some(certificate), Some(key)) = (&contents.certificate, &contents.key) {
            let (chain, parsed) = self.pair(contents)?;
            CertifiedKey::from_der(chain, parsed, &provider())
                .map_err(|error| self.refused("certificate_file", self.certificate.as_ref(), &error))?;
            config = config.identity(Identity::from_pem(certificate, key.expose()));
        }
        Ok(config)
    }

    /// The certificate with those that vouch for it, and its key.
    pub(super) fn pair(
        &self,
        contents: &Contents,
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
        let chain = certificates(contents.certificate.as_deref().unwrap_or_default())
            .map_err(|cause| self.refused("certificate_file", self.certificate.as_ref(), &cause))?;
        // The parser's own words could quote the file.
        let key = PrivateKeyDer::from_pem_slice(contents.key.as_ref().map_or(&[][..], |key| key.expose()))
            .map_err(|_| self.refused("key_file", self.key.as_ref(), &"holds no private key in PEM"))?;
        Ok((chain, key))
    }

    /// The authorities, if a file names some.
    fn roots(&self, contents: &Contents) -> Result<Option<RootCertStore>, TlsError> {
        let Some(ca) = &contents.ca else {
            return Ok(None);
        };
        let refused = |cause: &dyn fmt::Display| self.refused(self.ca_key, self.ca.as_ref(), cause);
        let mut roots = RootCertStore::empty();
        for certificate in certificates(ca).map_err(|cause| refused(&cause))? {
            roots.add(certificate).map_err(|error| refused(&error))?;
        }
        Ok(Some(roots))
    }
}

/// Every certificate in a PEM text, of which there must be one.
fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, &'static str> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    found.ok().filter(|found| !found.is_empty()).ok_or("holds no certificates in PEM")
}

/// The cryptography of all connections: ring, whatever else may be linked.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
