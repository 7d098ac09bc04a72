//! A server that speaks as S3 does, in this process, with its buckets in a folder; it can be away.

use std::net::SocketAddr;

use bursar_runtime::{ContentUrl, Settings};
use bursar_secret::Secret;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// The bucket's name.
const NAME: &str = "acme-content";
/// What the names of all objects begin with.
const PREFIX: &str = "bursar/v1";
/// The key that is known.
const KEY: [&str; 2] = ["acme", "correct horse battery staple"];

/// How the server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// As it should.
    Well,
    /// It hangs up.
    Away,
}

/// The server. It ends when dropped.
pub(crate) struct Bucket {
    folder: tempfile::TempDir,
    address: SocketAddr,
    mood: watch::Sender<Mood>,
    serving: AbortHandle,
}

impl Drop for Bucket {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Bucket {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join(NAME)).expect("a bucket");
        let mut service = S3ServiceBuilder::new(FileSystem::new(folder.path()).expect("opened"));
        service.set_auth(SimpleAuth::from_single(KEY[0], KEY[1]));
        let service = service.build();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let (mood, now) = watch::channel(Mood::Well);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (service, mut now) = (service.clone(), now.clone());
                if *now.borrow() == Mood::Well {
                    tokio::spawn(async move {
                        let server = Builder::new(TokioExecutor::new());
                        let connection = server.serve_connection(TokioIo::new(stream), service);
                        // Whoever hangs up, hangs up.
                        tokio::select! {
                            _ = connection => {}
                            _ = now.wait_for(|mood| *mood == Mood::Away) => {}
                        }
                    });
                }
            }
        });
        Self { folder, address, mood, serving: serving.abort_handle() }
    }

    /// Has content lie here.
    pub(crate) fn name_in(&self, settings: &mut Settings) {
        settings.content_url = ContentUrl::Bucket { bucket: NAME.to_owned(), prefix: PREFIX.to_owned() };
        settings.s3.endpoint = Some(format!("http://{}", self.address));
        KEY[0].clone_into(&mut settings.s3.access_key_id);
        settings.s3.secret_access_key = Some(Secret::new(KEY[1].to_owned()));
    }

    /// How the server answers from now on; connections that are open end where it is away.
    pub(crate) fn is(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    /// Where the objects lie that are content: what else is in the bucket begins with other names.
    pub(crate) fn objects(&self) -> usize {
        let entries = std::fs::read_dir(self.folder.path().join(NAME).join(PREFIX)).into_iter().flatten().flatten();
        let objects = entries.filter(|entry| entry.file_name().len() == 32);
        objects.map(|object| std::fs::read_dir(object.path()).into_iter().flatten().count()).sum()
    }
}
