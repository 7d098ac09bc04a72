//! `KeyService`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bursar_proto::identity::v1::key_service_server::KeyService;
use bursar_proto::identity::v1::{GetJwksRequest, GetJwksResponse, Jwk};
use tonic::{Request, Response, Status};

use super::Handlers;
use crate::usecase::signing::RingKey;

#[tonic::async_trait]
impl KeyService for Handlers {
    async fn get_jwks(&self, _: Request<GetJwksRequest>) -> Result<Response<GetJwksResponse>, Status> {
        let keys = self.0.parts().signer.published().await?;
        Ok(Response::new(GetJwksResponse { keys: keys.iter().map(jwk).collect() }))
    }
}

fn jwk(key: &RingKey) -> Jwk {
    Jwk {
        kid: key.kid().to_owned(),
        kty: "OKP".to_owned(),
        crv: "Ed25519".to_owned(),
        alg: "EdDSA".to_owned(),
        r#use: "sig".to_owned(),
        x: URL_SAFE_NO_PAD.encode(key.public_key()),
    }
}
