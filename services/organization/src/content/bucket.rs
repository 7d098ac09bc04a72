//! A bucket: of Amazon S3 or of a server that speaks like it, of Google Cloud Storage, or of Azure Blob Storage. What is asked
//! of it is the core of each: put, get, head, list, delete.

use std::sync::Arc;
use std::time::Duration;

use bursar_runtime::{AzureSettings, Cloud, GcsSettings, S3Settings, Settings};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorage, GoogleCloudStorageBuilder};
use object_store::{BackoffConfig, ObjectStore, RetryConfig};

use super::identity::Identity;
use super::wire::Wire;

/// How often and for how long a request is tried again. With what one try may take ([`Wire`]) it is over within a minute and a
/// half, before an upload lapses.
const PATIENCE: RetryConfig = RetryConfig {
    backoff: BackoffConfig { init_backoff: Duration::from_millis(100), max_backoff: Duration::from_secs(2), base: 2.0 },
    max_retries: 4,
    retry_timeout: Duration::from_secs(30),
};

/// Where Google has buckets. Said always, whatever else a key or the environment could name, which nobody would see in the
/// settings.
const GOOGLE: &str = "https://storage.googleapis.com";

/// By which variables Azure tells a program which identity it may take, and where it takes it: that of a pod, as AKS sets them,
/// or that of a machine or of an App Service.
const IDENTITY: [(&str, AzureConfigKey); 5] = [
    ("AZURE_CLIENT_ID", AzureConfigKey::ClientId),
    ("AZURE_TENANT_ID", AzureConfigKey::AuthorityId),
    ("AZURE_FEDERATED_TOKEN_FILE", AzureConfigKey::FederatedTokenFile),
    ("AZURE_AUTHORITY_HOST", AzureConfigKey::AuthorityHost),
    ("IDENTITY_ENDPOINT", AzureConfigKey::MsiEndpoint),
];

/// The bucket, which need not be there; `told` says what a variable of the environment is.
pub(super) fn open(
    cloud: Cloud,
    bucket: &str,
    settings: &Settings,
    told: impl Fn(&str) -> Option<String>,
) -> anyhow::Result<Arc<dyn ObjectStore>> {
    let wire = Wire::new()?;
    let store: Arc<dyn ObjectStore> = match cloud {
        Cloud::S3 => Arc::new(s3(bucket, &settings.s3, wire)?),
        Cloud::Google => Arc::new(google(bucket, &settings.gcs, wire)?),
        Cloud::Azure => {
            let mut builder = azure(bucket, &settings.azure, wire, told);
            if settings.azure.access_key.is_none() {
                let identity = Identity::new(Arc::clone(builder.clone().build()?.credentials()));
                builder = builder.with_credentials(Arc::new(identity));
            }
            Arc::new(builder.build()?)
        }
    };
    Ok(store)
}

fn s3(bucket: &str, settings: &S3Settings, wire: Wire) -> object_store::Result<AmazonS3> {
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
        .with_http_connector(wire);
    if let Some(endpoint) = &settings.endpoint {
        builder = builder.with_endpoint(endpoint.trim_end_matches('/'));
    }
    builder.build()
}

/// By the key of a service account, or by the account that Google's metadata server tells.
fn google(bucket: &str, settings: &GcsSettings, wire: Wire) -> object_store::Result<GoogleCloudStorage> {
    let builder = GoogleCloudStorageBuilder::new()
        .with_bucket_name(bucket)
        .with_base_url(settings.endpoint.as_deref().unwrap_or(GOOGLE).trim_end_matches('/'))
        .with_retry(PATIENCE)
        .with_http_connector(wire);
    if let Some(key) = &settings.service_account_key {
        return builder.with_service_account_key(key.expose()).build();
    }
    let identity = Identity::new(Arc::clone(builder.clone().build()?.credentials()));
    builder.with_credentials(Arc::new(identity)).build()
}

/// By the account's key, or by the identity that Azure gives the program: `told` says what a variable of the environment is.
fn azure(
    container: &str,
    settings: &AzureSettings,
    wire: Wire,
    told: impl Fn(&str) -> Option<String>,
) -> MicrosoftAzureBuilder {
    let mut builder = MicrosoftAzureBuilder::new()
        .with_account(&settings.account)
        .with_container_name(container)
        .with_retry(PATIENCE)
        .with_http_connector(wire);
    if let Some(endpoint) = &settings.endpoint {
        builder = builder.with_endpoint(endpoint.trim_end_matches('/').to_owned());
    }
    if let Some(key) = &settings.access_key {
        return builder.with_access_key(key.expose());
    }
    for (name, key) in IDENTITY {
        if let Some(value) = told(name).filter(|value| !value.is_empty()) {
            builder = builder.with_config(key, value);
        }
    }
    builder
}

#[cfg(test)]
mod tests {
    use bursar_secret::Secret;

    use super::*;

    fn said(builder: &MicrosoftAzureBuilder, key: AzureConfigKey) -> Option<String> {
        builder.get_config_value(&key)
    }

    #[test]
    fn where_no_key_is_given_azure_says_which_identity_to_take() {
        let told = |name: &str| match name {
            "AZURE_TENANT_ID" => None,
            "AZURE_FEDERATED_TOKEN_FILE" => Some(String::new()),
            name => Some(format!("the {name}")),
        };
        let mut settings = AzureSettings { account: "acme".to_owned(), ..AzureSettings::default() };
        let wire = || Wire::new().expect("authorities");
        let by_identity = azure("content", &settings, wire(), told);
        assert_eq!(said(&by_identity, AzureConfigKey::ClientId).as_deref(), Some("the AZURE_CLIENT_ID"));
        assert_eq!(said(&by_identity, AzureConfigKey::MsiEndpoint).as_deref(), Some("the IDENTITY_ENDPOINT"));
        assert_eq!(said(&by_identity, AzureConfigKey::AuthorityHost).as_deref(), Some("the AZURE_AUTHORITY_HOST"));
        assert_eq!(said(&by_identity, AzureConfigKey::AuthorityId), None, "nobody says it");
        assert_eq!(said(&by_identity, AzureConfigKey::FederatedTokenFile), None, "empty is not set");
        settings.access_key = Some(Secret::new("aGlkZGVu".to_owned()));
        let by_key = azure("content", &settings, wire(), told);
        assert_eq!(said(&by_key, AzureConfigKey::AccessKey).as_deref(), Some("aGlkZGVu"));
        assert_eq!(said(&by_key, AzureConfigKey::ClientId), None, "the key is enough");
    }
}
