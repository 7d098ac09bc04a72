//! `CatalogService`.

use std::sync::Arc;

use bursar_proto::billing::v1 as pb;
use bursar_proto::billing::v1::catalog_service_server::CatalogService;
use bursar_rpc::convert::to_money;
use bursar_rpc::{Fingerprint, Page, PageRequest, Problem};
use tonic::{Request, Response, Status};

use crate::domain::{Catalog, ModelPrice, Pack, Plan};

/// Answers from the catalog that was read at start.
pub(crate) struct CatalogHandler(pub(crate) Arc<Catalog>);

#[tonic::async_trait]
impl CatalogService for CatalogHandler {
    async fn list_plans(
        &self,
        request: Request<pb::ListPlansRequest>,
    ) -> Result<Response<pb::ListPlansResponse>, Status> {
        let asked = request.into_inner();
        let page = page("ListPlans", self.0.plans(), asked.page_size, &asked.page_token)?;
        let (plans, next_page_token) = (page.rows.into_iter().map(plan).collect(), page.next_page_token);
        Ok(Response::new(pb::ListPlansResponse { plans, next_page_token }))
    }

    async fn list_packs(
        &self,
        request: Request<pb::ListPacksRequest>,
    ) -> Result<Response<pb::ListPacksResponse>, Status> {
        let asked = request.into_inner();
        let page = page("ListPacks", self.0.packs(), asked.page_size, &asked.page_token)?;
        let (packs, next_page_token) = (page.rows.into_iter().map(pack).collect(), page.next_page_token);
        Ok(Response::new(pb::ListPacksResponse { packs, next_page_token }))
    }

    async fn list_models(
        &self,
        request: Request<pb::ListModelsRequest>,
    ) -> Result<Response<pb::ListModelsResponse>, Status> {
        let asked = request.into_inner();
        let page = page("ListModels", self.0.models(), asked.page_size, &asked.page_token)?;
        let (models, next_page_token) = (page.rows.into_iter().map(model).collect(), page.next_page_token);
        Ok(Response::new(pb::ListModelsResponse { models, next_page_token }))
    }
}

/// A page of a list of the catalog, by the places in it.
fn page<'a, T>(list: &str, all: &'a [T], size: i32, token: &str) -> Result<Page<&'a T>, Problem> {
    let wanted: PageRequest<usize> = PageRequest::parse(size, token, Fingerprint::of(list, []))?;
    let from = wanted.after().map_or(0, |last| last.saturating_add(1));
    let limit = usize::try_from(wanted.limit()).unwrap_or(usize::MAX);
    let rows = all.iter().enumerate().skip(from).take(limit).collect();
    Ok(wanted.page(rows, |(place, _)| *place)?.map(|(_, row)| row))
}

/// The features as the API names them.
pub(super) fn features(organizations: bool, single_sign_on: bool) -> Vec<i32> {
    let all = [(organizations, pb::Feature::Organizations), (single_sign_on, pb::Feature::SingleSignOn)];
    all.into_iter().filter(|(has, _)| *has).map(|(_, feature)| feature.into()).collect()
}

fn plan(plan: &Plan) -> pb::Plan {
    pb::Plan {
        id: plan.id.to_string(),
        display_name: plan.display_name.clone(),
        price: plan.price.map(to_money),
        credits: plan.price.map(|_| plan.credits.to_string()).unwrap_or_default(),
        seats: plan.seats,
        features: features(plan.organization, plan.single_sign_on),
        contract: plan.price.is_none(),
    }
}

fn pack(pack: &Pack) -> pb::Pack {
    pb::Pack {
        id: pack.id.to_string(),
        display_name: pack.display_name.clone(),
        price: Some(to_money(pack.price)),
        credits: pack.credits.to_string(),
    }
}

fn model(price: &ModelPrice) -> pb::Model {
    pb::Model {
        id: price.model.to_string(),
        display_name: price.display_name.clone(),
        unit: price.unit.clone(),
        credits_per_unit: price.credits_per_unit.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_go_through_the_catalog_in_its_order() {
        let all = ["a", "b", "c", "d", "e"];
        let (mut seen, mut token) = (Vec::new(), String::new());
        for length in [2, 2, 1] {
            let found = page("ListPlans", &all, 2, &token).unwrap();
            assert_eq!(found.rows.len(), length);
            seen.extend(found.rows.into_iter().copied());
            token = found.next_page_token;
        }
        assert_eq!((seen.as_slice(), token.as_str()), (all.as_slice(), ""));
        let first = page("ListPlans", &all, 2, "").unwrap().next_page_token;
        let foreign = page("ListPacks", &all, 2, &first).unwrap_err();
        assert_eq!(foreign.reason(), bursar_rpc::reason::PAGE_TOKEN_INVALID);
        assert!(page("ListPlans", &all[..1], 2, &first).unwrap().rows.is_empty(), "a catalog that shrank");
    }
}
