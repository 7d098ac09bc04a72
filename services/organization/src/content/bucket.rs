//! A bucket of Amazon S3, or of a server that speaks like it. What is asked of it is the core of that: put, get, head, list,
//! delete.

use std::time::Duration;

use bursar_runtime::S3Settings;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::{BackoffConfig, RetryConfig};

use super::wire::Wire;

/// How often and for how long a request is tried again. With what one try may take ([`Wire`]) it is over within a minute and a
/// half, before an upload lapses.
const PATIENCE: RetryConfig = RetryConfig {
    backoff: BackoffConfig { init_backoff: Duration::from_millis(100), max_backoff: Duration::from_secs(2), base: 2.0 },
    max_retries: 4,
    retry_timeout: Duration::from_secs(30),
};

/// The bucket, which need not be there.
pub(super) fn open(bucket: &str, settings: &S3Settings) -> anyhow::Result<AmazonS3> {
    let secret = settings.secret_access_key.as_ref().map(|secret| secret.expose().as_str()).unwrap_or_default();
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_region(&settings.region)
        .with_access_key_id(&settings.access_key_id)
        .with_secret_access_key(secret)
        .with_virtual_hosted_style_request(!settings.path_style)
        // One by one: servers that are not Amazon's do not all know how to delete many at once.
        .with_disable_bulk_delete(true)
        .with_retry(PATIENCE)
        .with_http_connector(Wire::new()?);
    if let Some(endpoint) = &settings.endpoint {
        builder = builder.with_endpoint(endpoint.trim_end_matches('/'));
    }
    Ok(builder.build()?)
}
