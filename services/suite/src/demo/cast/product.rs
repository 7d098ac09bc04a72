//! The product's own service: it makes films for members and charges for them, and it alone gives credits back. And the
//! operator, who gives it its account.

use std::path::Path;

use anyhow::Context as _;
use bursar_proto::identity::v1::{CreateServiceAccountRequest, IssueServiceTokenRequest};

use super::Play;
use crate::demo::{
    stage::Stage,
    wire::{Wire, answer},
};

/// A service account of the product and its calls.
pub(in crate::demo) async fn hire(stage: &mut Stage, play: &Play) -> anyhow::Result<Wire> {
    stage
        .step("the operator gives the render service an account", "ServiceAccountService/CreateServiceAccount", async {
            let operator = operator(play).await?;
            let request = CreateServiceAccountRequest {
                display_name: "Render service".to_owned(),
                role: "product".to_owned(),
                ..CreateServiceAccountRequest::default()
            };
            let made = answer(operator.service_accounts().create_service_account(request).await)?;
            let product = play.wire.with_token(&token(play, made.client_id.clone(), made.client_secret).await?)?;
            Ok((product, format!("{}, role product", made.client_id)))
        })
        .await
}

/// The operator's calls.
pub(in crate::demo) async fn operator(play: &Play) -> anyhow::Result<Wire> {
    let (id, secret) = credentials(&play.data_dir)?;
    play.wire.with_token(&token(play, id, secret).await?)
}

async fn token(play: &Play, client_id: String, client_secret: String) -> anyhow::Result<String> {
    let request = IssueServiceTokenRequest { client_id, client_secret };
    Ok(answer(play.wire.service_accounts().issue_service_token(request).await)?.access_token)
}

/// The operator's credentials, as the deployment wrote them at its first start.
fn credentials(data_dir: &Path) -> anyhow::Result<(String, String)> {
    let path = data_dir.join("operator.json");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let file: serde_json::Value = serde_json::from_str(&text)?;
    let field = |name: &str| {
        let text = file.get(name).and_then(serde_json::Value::as_str).map(str::to_owned);
        text.with_context(|| format!("{} has no {name}", path.display()))
    };
    Ok((field("client_id")?, field("client_secret")?))
}
