//! Buckets of every cloud, on servers of this machine: S3's and Google's in this process, with the objects in a folder, Azure's
//! on Azurite. Each can be away.

mod azure;
mod google;

use std::net::SocketAddr;
use std::sync::Arc;

use bursar_runtime::{Cloud, ContentUrl, Settings};
use bursar_secret::Secret;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

pub use google::service_account_key;

/// The bucket's name where the server has no other one.
const NAME: &str = "acme-content";
/// What the names of all objects begin with.
const PREFIX: &str = "bursar/v1";
/// The key that the server of S3 knows.
const KEY: [&str; 2] = ["acme", "correct horse battery staple"];

/// How the server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// As it should.
    Well,
    /// It hangs up.
    Away,
}

/// Who answers.
#[derive(Clone)]
enum Server {
    S3(S3Service),
    Google(Arc<google::Google>),
    /// Azurite, there.
    Azure(SocketAddr),
}

impl Server {
    /// Answers on a connection until somebody hangs up.
    async fn serve(self, mut stream: TcpStream) {
        let server = Builder::new(TokioExecutor::new());
        match self {
            Self::S3(service) => drop(server.serve_connection(TokioIo::new(stream), service).await),
            Self::Google(google) => {
                let service = service_fn(move |request| {
                    let google = Arc::clone(&google);
                    async move { google.answer(request).await }
                });
                drop(server.serve_connection(TokioIo::new(stream), service).await);
            }
            Self::Azure(address) => {
                if let Ok(mut azurite) = TcpStream::connect(address).await {
                    let _ = tokio::io::copy_bidirectional(&mut stream, &mut azurite).await;
                }
            }
        }
    }
}

/// A bucket and its server, which ends when this is dropped.
pub struct Bucket {
    cloud: Cloud,
    name: String,
    folder: tempfile::TempDir,
    server: Server,
    address: SocketAddr,
    mood: watch::Sender<Mood>,
    serving: AbortHandle,
}

impl std::fmt::Debug for Bucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bucket").field("url", &self.url().to_string()).finish_non_exhaustive()
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Bucket {
    /// An empty bucket. `None` where there is no Azurite for one of Azure: said aloud, once in a program.
    pub async fn start(cloud: Cloud) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join(NAME)).expect("a bucket");
        let mut service = S3ServiceBuilder::new(FileSystem::new(folder.path()).expect("opened"));
        let (server, name) = match cloud {
            Cloud::S3 => {
                service.set_auth(SimpleAuth::from_single(KEY[0], KEY[1]));
                (Server::S3(service.build()), NAME.to_owned())
            }
            Cloud::Google => (Server::Google(Arc::new(google::Google::new(service.build()))), NAME.to_owned()),
            Cloud::Azure => {
                let azurite = azure::azurite().await?;
                (Server::Azure(azurite), azure::container(azurite, NAME))
            }
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let (mood, now) = watch::channel(Mood::Well);
        let serving = tokio::spawn(accept(listener, server.clone(), now)).abort_handle();
        Some(Self { cloud, name, folder, server, address, mood, serving })
    }

    /// What the settings call it, and what the names of its objects begin with.
    pub fn url(&self) -> ContentUrl {
        ContentUrl::Bucket { cloud: self.cloud, bucket: self.name.clone(), prefix: PREFIX.to_owned() }
    }

    /// Where its server is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What has content lie here, as variables of a program's environment, without what names who asks for it.
    pub fn place(&self) -> Vec<(&'static str, String)> {
        let endpoint = format!("http://{}", self.address);
        let more = match self.cloud {
            Cloud::S3 => vec![("BURSAR_S3__ENDPOINT", endpoint)],
            Cloud::Google => vec![("BURSAR_GCS__ENDPOINT", endpoint)],
            Cloud::Azure => vec![
                ("BURSAR_AZURE__ENDPOINT", format!("{endpoint}/{}", azure::ACCOUNT)),
                ("BURSAR_AZURE__ACCOUNT", azure::ACCOUNT.to_owned()),
            ],
        };
        [("BURSAR_CONTENT_URL", self.url().to_string())].into_iter().chain(more).collect()
    }

    /// All that has content lie here.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let who = match self.cloud {
            Cloud::S3 => vec![
                ("BURSAR_S3__ACCESS_KEY_ID", KEY[0].to_owned()),
                ("BURSAR_S3__SECRET_ACCESS_KEY", KEY[1].to_owned()),
            ],
            Cloud::Google => vec![("BURSAR_GCS__SERVICE_ACCOUNT_KEY", service_account_key())],
            Cloud::Azure => vec![("BURSAR_AZURE__ACCESS_KEY", azure::KEY.to_owned())],
        };
        self.place().into_iter().chain(who).collect()
    }

    /// The same in settings that are made already.
    pub fn name_in(&self, settings: &mut Settings) {
        settings.content_url = self.url();
        let endpoint = Some(format!("http://{}", self.address));
        match self.cloud {
            Cloud::S3 => {
                settings.s3.endpoint = endpoint;
                KEY[0].clone_into(&mut settings.s3.access_key_id);
                settings.s3.secret_access_key = Some(Secret::new(KEY[1].to_owned()));
            }
            Cloud::Google => {
                settings.gcs.endpoint = endpoint;
                settings.gcs.service_account_key = Some(Secret::new(service_account_key()));
            }
            Cloud::Azure => {
                settings.azure.endpoint = endpoint.map(|server| format!("{server}/{}", azure::ACCOUNT));
                azure::ACCOUNT.clone_into(&mut settings.azure.account);
                settings.azure.access_key = Some(Secret::new(azure::KEY.to_owned()));
            }
        }
    }

    /// How the server answers from now on; connections that are open end where it is away.
    pub fn is(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    /// How many objects there are that are content: what else is in the bucket begins with other names.
    pub fn objects(&self) -> usize {
        if let Server::Azure(azurite) = self.server {
            return azure::objects(azurite, &self.name, PREFIX);
        }
        let entries = std::fs::read_dir(self.folder.path().join(NAME).join(PREFIX)).into_iter().flatten().flatten();
        let objects = entries.filter(|entry| entry.file_name().len() == OBJECT);
        objects.map(|object| std::fs::read_dir(object.path()).into_iter().flatten().count()).sum()
    }
}

/// How long the name of a content's object is.
const OBJECT: usize = 32;

/// Answers whoever comes, as the mood is.
async fn accept(listener: TcpListener, server: Server, now: watch::Receiver<Mood>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (server, mut now) = (server.clone(), now.clone());
        if *now.borrow() == Mood::Well {
            tokio::spawn(async move {
                // Whoever hangs up, hangs up.
                tokio::select! {
                    () = server.serve(stream) => {}
                    _ = now.wait_for(|mood| *mood == Mood::Away) => {}
                }
            });
        }
    }
}
