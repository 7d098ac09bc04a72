//! How buckets are reached, and what is wrong with how they are said to be.

use bursar_secret::Secret;
use serde::{Deserialize, Serialize};

use super::validate::is_http;
use super::{Cloud, ContentUrl, Settings, text};

/// `[s3]`: how a bucket of Amazon S3 is reached, or one of a server that speaks like it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3Settings {
    /// Where the server is that has the bucket (`https://minio.example.com:9000`); Amazon's of the region when not set.
    #[serde(with = "text::optional")]
    pub endpoint: Option<String>,
    /// The region, by which requests are signed.
    pub region: String,
    /// Whether the bucket stands in the path, which servers other than Amazon's mostly want. Where it does not, it stands
    /// before Amazon's name, and an `endpoint` has to name it.
    pub path_style: bool,
    /// Whose requests they are.
    pub access_key_id: String,
    /// What requests are signed with.
    #[serde(with = "text::secret")]
    pub secret_access_key: Option<Secret>,
}

/// `[gcs]`: how a bucket of Google Cloud Storage is reached.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GcsSettings {
    /// Where the server is that has the bucket (a private endpoint, say); `https://storage.googleapis.com` when not set.
    #[serde(with = "text::optional")]
    pub endpoint: Option<String>,
    /// The key of a service account, in the JSON in which Google gives it. When not set, the machine's own account as Google's
    /// metadata server tells it, which on GKE is the pod's (workload identity).
    #[serde(with = "text::secret")]
    pub service_account_key: Option<Secret>,
}

/// `[azure]`: how a container of Azure Blob Storage is reached.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AzureSettings {
    /// The storage account that has the container.
    pub account: String,
    /// Where it is found (another cloud's, a private endpoint); `https://ACCOUNT.blob.core.windows.net` when not set.
    #[serde(with = "text::optional")]
    pub endpoint: Option<String>,
    /// A key of the account, by which requests are signed. When not set, the identity that Azure gives the program: the pod's
    /// (workload identity, by `AZURE_CLIENT_ID`, `AZURE_TENANT_ID` and `AZURE_FEDERATED_TOKEN_FILE`, which AKS sets), or the
    /// machine's (managed identity, that of `AZURE_CLIENT_ID` where there are several).
    #[serde(with = "text::secret")]
    pub access_key: Option<Secret>,
}

impl Default for S3Settings {
    fn default() -> Self {
        Self {
            endpoint: None,
            region: "us-east-1".to_owned(),
            path_style: true,
            access_key_id: String::new(),
            secret_access_key: None,
        }
    }
}

/// What is read of a service account's key.
#[derive(Deserialize)]
struct ServiceAccountKey {
    #[serde(rename = "type")]
    kind: Option<String>,
    client_email: String,
    private_key_id: String,
    private_key: Secret,
    #[serde(default)]
    disable_oauth: bool,
    gcs_base_url: Option<serde::de::IgnoredAny>,
}

impl Settings {
    /// The server of the bucket in which content lies, where one is set, and by which key.
    pub(super) fn bucket_endpoint(&self) -> Option<(&'static str, &str)> {
        let ContentUrl::Bucket { cloud, .. } = self.content_url else { return None };
        let (key, endpoint) = match cloud {
            Cloud::S3 => ("s3.endpoint", &self.s3.endpoint),
            Cloud::Google => ("gcs.endpoint", &self.gcs.endpoint),
            Cloud::Azure => ("azure.endpoint", &self.azure.endpoint),
        };
        endpoint.as_deref().map(|url| (key, url))
    }

    /// What is set of another bucket than that in which content lies is nobody's concern.
    pub(super) fn check_bucket(&self, problems: &mut Vec<String>) {
        let ContentUrl::Bucket { cloud, .. } = self.content_url else { return };
        match cloud {
            Cloud::S3 => self.check_s3(problems),
            Cloud::Google => self.check_gcs(problems),
            Cloud::Azure => self.check_azure(problems),
        }
        if let Some((key, url)) = self.bucket_endpoint().filter(|(_, url)| !is_http(url)) {
            problems.push(format!("{key}: `{url}` is not of the form http://HOST:PORT or https://HOST:PORT"));
        }
    }

    /// A bucket of S3 is reached by a key, wherever it is.
    fn check_s3(&self, problems: &mut Vec<String>) {
        let s3 = &self.s3;
        for (key, missing) in [
            ("s3.region", s3.region.is_empty()),
            ("s3.access_key_id", s3.access_key_id.is_empty()),
            ("s3.secret_access_key", s3.secret_access_key.is_none()),
        ] {
            if missing {
                problems.push(format!("{key}: must be set where content_url is {}", self.content_url));
            }
        }
    }

    fn check_gcs(&self, problems: &mut Vec<String>) {
        // What is wrong is not repeated, as it may be the secret.
        if self.gcs.service_account_key.as_ref().is_some_and(|key| !is_service_account_key(key)) {
            problems.push(
                "gcs.service_account_key: is not the key of a service account, JSON with client_email, private_key_id and \
                 private_key (PEM), and without a server of its own (gcs_base_url), which gcs.endpoint names"
                    .to_owned(),
            );
        }
    }

    fn check_azure(&self, problems: &mut Vec<String>) {
        let account = self.azure.account.as_str();
        let fits =
            (3..=24).contains(&account.len()) && account.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        if account.is_empty() {
            problems.push(format!("azure.account: must be set where content_url is {}", self.content_url));
        } else if !fits {
            problems.push(format!("azure.account: `{account}` names no account: 3 to 24 small letters and digits"));
        }
        if self.azure.access_key.as_ref().is_some_and(|key| !is_base64(key.expose())) {
            problems.push("azure.access_key: is no key of a storage account, which is base64".to_owned());
        }
    }
}

/// A key that would have requests sent without a token counts as none: it is for servers that ask for nothing. So does one that
/// names a server: that is said in the settings, where it is seen, or not at all.
fn is_service_account_key(key: &Secret) -> bool {
    serde_json::from_str::<ServiceAccountKey>(key.expose()).is_ok_and(|key| {
        key.kind.is_none_or(|kind| kind == "service_account")
            && !key.client_email.is_empty()
            && !key.private_key_id.is_empty()
            && key.private_key.expose().contains("-----BEGIN")
            && !key.disable_oauth
            && key.gcs_base_url.is_none()
    })
}

fn is_base64(text: &str) -> bool {
    let digits = text.trim_end_matches('=');
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/');
    !digits.is_empty() && text.len().is_multiple_of(4) && text.len() - digits.len() <= 2 && digits.chars().all(fits)
}
