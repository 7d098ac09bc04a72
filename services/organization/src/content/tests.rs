//! What an object store keeps, in a folder.

use bursar_runtime::Settings;

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
