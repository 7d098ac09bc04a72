//! HTTP to what others run, over what the programs speak HTTP and TLS with anyway: hyper, rustls and ring, the system's
//! authorities (or those of `SSL_CERT_FILE`). How long an answer may take is for whoever asks to say.

use std::{sync::Arc, time::Duration};

use hyper::body::Body;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};

/// How long a connection may take to be made.
const CONNECTED_WITHIN: Duration = Duration::from_secs(5);
/// How long a connection is kept that nobody needs.
const KEPT_FOR: Duration = Duration::from_secs(20);

/// Makes requests with bodies of one kind. Cheap to clone: all clones share their connections.
pub type HttpsClient<B> = Client<HttpsConnector<HttpConnector>, B>;

/// A client that trusts the system's authorities, which are read now. It connects nowhere yet.
pub fn https_client<B>() -> anyhow::Result<HttpsClient<B>>
where
    B: Body + Send,
    B::Data: Send,
{
    let mut plain = HttpConnector::new();
    plain.set_connect_timeout(Some(CONNECTED_WITHIN));
    plain.set_nodelay(true);
    plain.enforce_http(false);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let secured = HttpsConnectorBuilder::new()
        .with_provider_and_native_roots(provider)?
        .https_or_http()
        .enable_http1()
        .wrap_connector(plain);
    let client =
        Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).pool_idle_timeout(KEPT_FOR).build(secured);
    Ok(client)
}
