//! What an object store keeps, in a folder, and what becomes of a bucket that says nothing.

use bursar_runtime::{Cloud, Settings};
use bursar_secret::Secret;

use super::*;

async fn whole(contents: &Contents, segment: u32, offset: u64) -> Result<Vec<u8>, ContentError> {
    let mut stream = contents.read("a1", segment, offset).await?;
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.next().await {
        bytes.extend_from_slice(&chunk?);
    }
    Ok(bytes)
}

fn is_missing(error: &ContentError) -> bool {
    matches!(error.0, object_store::Error::NotFound { .. })
}

#[tokio::test]
async fn objects_are_written_read_and_removed_in_segments() {
    let data = tempfile::tempdir().expect("a folder");
    let contents = Contents::open(&Settings::for_test(data.path())).expect("opened");
    contents.write("a1", 0, Bytes::from_static(b"hello ")).await.expect("written");
    contents.write("a1", 1, Bytes::from_static(b"world")).await.expect("written");
    contents.write("a12", 0, Bytes::from_static(b"another's")).await.expect("written");
    assert_eq!(whole(&contents, 1, 0).await.expect("read"), b"world");
    assert_eq!(whole(&contents, 1, 3).await.expect("read"), b"ld");
    assert!(is_missing(&whole(&contents, 2, 0).await.expect_err("no such segment")));
    contents.remove("a1").await.expect("removed");
    contents.remove("a1").await.expect("again");
    assert!(is_missing(&whole(&contents, 0, 0).await.expect_err("removed")));
    assert!(contents.read("a12", 0, 0).await.is_ok(), "names are names, not beginnings of them");
}

#[tokio::test]
async fn a_folder_that_is_away_is_told() {
    let data = tempfile::tempdir().expect("a folder");
    let contents = Contents::open(&Settings::for_test(data.path())).expect("opened");
    assert!(contents.look_for().await);
    let content = data.path().join("content");
    std::fs::rename(&content, data.path().join("elsewhere")).expect("moved");
    assert!(!contents.look_for().await);
    assert_eq!(contents.describe(), "content: NOT REACHED");
    std::fs::rename(data.path().join("elsewhere"), &content).expect("back");
    assert!(contents.look_for().await);
    assert_eq!(contents.describe(), "content: reached");
}

/// Settings whose content lies with whoever listens there, by credentials that are somebody's.
fn in_a_bucket(data: &std::path::Path, cloud: Cloud, server: &str) -> Settings {
    let mut settings = Settings::for_test(data);
    settings.content_url = format!("{}://acme-content", cloud.scheme()).parse().expect("a bucket");
    settings.s3.endpoint = Some(server.to_owned());
    "acme".clone_into(&mut settings.s3.access_key_id);
    settings.s3.secret_access_key = Some(Secret::new("hidden".to_owned()));
    settings.gcs.endpoint = Some(server.to_owned());
    settings.gcs.service_account_key = Some(Secret::new(bursar_testkit::service_account_key()));
    settings.azure.endpoint = Some(server.to_owned());
    "acme".clone_into(&mut settings.azure.account);
    settings.azure.access_key = Some(Secret::new("aGlkZGVu".to_owned()));
    settings
}

/// Time passes here as soon as everybody waits for it.
#[tokio::test(start_paused = true)]
async fn a_bucket_that_keeps_silent_is_given_up() {
    for cloud in Cloud::ALL {
        // Whoever connects is never served.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let data = tempfile::tempdir().expect("a folder");
        let server = format!("http://{}", silent.local_addr().expect("bound"));
        let contents = Contents::open(&in_a_bucket(data.path(), cloud, &server)).expect("opened");
        assert_eq!(contents.describe(), "content: reached");
        let within = Duration::from_mins(5);
        tokio::time::timeout(within, contents.begin()).await.expect("given up").expect("teams go on without it");
        assert_eq!(contents.describe(), "content: NOT REACHED");
        let read = tokio::time::timeout(within, whole(&contents, 0, 0)).await.expect("given up");
        assert!(!is_missing(&read.expect_err("nothing came")), "not there is not the same as not told: {cloud:?}");
        let written = tokio::time::timeout(within, contents.write("a1", 0, Bytes::from_static(b"hello"))).await;
        written.expect("given up").expect_err("nothing was said");
    }
}

/// The last of many waits no longer for who says who asks than the first: these are asked for one after another.
#[tokio::test(start_paused = true)]
async fn who_keeps_silent_of_who_asks_a_bucket_is_given_up() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let data = tempfile::tempdir().expect("a folder");
    let server = format!("http://{}", silent.local_addr().expect("bound"));
    let mut settings = in_a_bucket(data.path(), Cloud::Azure, "http://bucket.invalid");
    settings.azure.access_key = None;
    let told = |name: &str| (name == "IDENTITY_ENDPOINT").then(|| format!("{server}/token"));
    let contents = Contents::open_where(&settings, told).expect("opened");
    contents.begin().await.expect("teams go on without it");
    assert_eq!(contents.describe(), "content: NOT REACHED");
    // Longer than nobody is asked for that.
    tokio::time::advance(Duration::from_secs(5)).await;
    let many = (0..30).map(|n| {
        let contents = &contents;
        async move {
            match n % 3 {
                0 => contents.write("a1", 0, Bytes::from_static(b"hello")).await,
                1 => whole(contents, 0, 0).await.map(drop),
                _ => contents.remove("a1").await,
            }
        }
    });
    let within = tokio::time::timeout(Duration::from_secs(30), futures::future::join_all(many));
    for given_up in within.await.expect("given up, all of them") {
        assert!(!is_missing(&given_up.expect_err("nothing was said")));
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_the_store_is_asked_is_given_up() {
    let never = within(DONE_WITHIN, std::future::pending::<Result<(), ContentError>>());
    let why = never.await.expect_err("nothing came");
    assert!(why.to_string().contains("no answer within 90 seconds") && !is_refusal(&why), "{why}");
}

#[test]
fn what_a_bucket_refuses_by_a_number_alone_is_a_refusal() {
    let said = |text: &str| {
        let text = format!("Bulk delete request failed for key bursar/v1/nothing/000000: {text}");
        ContentError(object_store::Error::Generic { store: "MicrosoftAzure", source: text.into() })
    };
    for refusal in ["This request is not authorized (code: 403)", " (code: 401)"] {
        assert!(is_refusal(&said(refusal)), "{refusal}");
    }
    for other in ["Server busy (code: 503)", "The request body is too large (code: 413)"] {
        assert!(!is_refusal(&said(other)), "{other}");
    }
}

#[test]
fn what_keeps_content_shows_no_key() {
    let data = tempfile::tempdir().expect("a folder");
    for cloud in Cloud::ALL {
        let contents = Contents::open(&in_a_bucket(data.path(), cloud, "https://bucket.test")).expect("opened");
        let shown = format!("{contents:?}");
        assert!(shown.contains("acme-content"), "{shown}");
        // Also as the numbers of its bytes: h, i, d.
        for secret in ["hidden", "aGlkZGVu", "104, 105, 100", "PRIVATE KEY"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}

#[test]
fn a_key_that_cannot_sign_is_named_without_asking_anybody() {
    let data = tempfile::tempdir().expect("a folder");
    let mut settings = in_a_bucket(data.path(), Cloud::Google, "https://bucket.test");
    check(&settings).expect("a key that can");
    let mut account: serde_json::Value = serde_json::from_str(&bursar_testkit::service_account_key()).expect("JSON");
    account["private_key"] = "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n".into();
    settings.gcs.service_account_key = Some(Secret::new(account.to_string()));
    let why = format!("{:#}", check(&settings).expect_err("no key"));
    assert!(why.contains("content_url: gs://acme-content") && !why.contains("hunter2"), "{why}");
}
