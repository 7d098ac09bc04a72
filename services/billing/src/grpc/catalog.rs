//! `CatalogService`.

use std::mem::take;

use bursar_money::Credits;
use bursar_proto::billing::v1 as pb;
use bursar_proto::billing::v1::catalog_service_server::CatalogService;
use bursar_rpc::convert::{to_money, to_timestamp};
use bursar_rpc::{Asked, Call, ListKey, Page, PageKey, PageRequest, Problem, Stored};
use tonic::{Request, Response, Status};

use crate::domain::{Feature, Features, Interval, MeterPrice, ModelPrice, Pack, Plan, Rate, Scope};
use crate::usecase::catalogs::CatalogUseCases;
use crate::usecase::reloading::{Reloaded, Reloading};

/// Answers from the catalog that is in use, or from those before it, and has another one put to use.
pub(crate) struct CatalogHandler {
    pub(crate) catalogs: CatalogUseCases,
    pub(crate) reloading: Reloading,
    pub(crate) pages: PageKey,
}

#[tonic::async_trait]
impl CatalogService for CatalogHandler {
    async fn list_plans(
        &self,
        request: Request<pb::ListPlansRequest>,
    ) -> Result<Response<pb::ListPlansResponse>, Status> {
        let asked = request.into_inner();
        let (present, list) = (self.catalogs.present(), self.pages.list("ListPlans", []));
        let page = page(list, present.catalog.plans(), asked.page_size, &asked.page_token)?.messages(plan);
        let (plans, next_page_token) = (page.rows, page.next_page_token);
        Ok(Response::new(pb::ListPlansResponse { plans, next_page_token, catalog_version: present.version.get() }))
    }

    async fn list_packs(
        &self,
        request: Request<pb::ListPacksRequest>,
    ) -> Result<Response<pb::ListPacksResponse>, Status> {
        let asked = request.into_inner();
        let (present, list) = (self.catalogs.present(), self.pages.list("ListPacks", []));
        let page = page(list, present.catalog.packs(), asked.page_size, &asked.page_token)?.messages(pack);
        let (packs, next_page_token) = (page.rows, page.next_page_token);
        Ok(Response::new(pb::ListPacksResponse { packs, next_page_token, catalog_version: present.version.get() }))
    }

    async fn list_models(
        &self,
        request: Request<pb::ListModelsRequest>,
    ) -> Result<Response<pb::ListModelsResponse>, Status> {
        let asked = request.into_inner();
        let (present, list) = (self.catalogs.present(), self.pages.list("ListModels", []));
        let page = page(list, present.catalog.models(), asked.page_size, &asked.page_token)?.messages(model);
        let (models, next_page_token) = (page.rows, page.next_page_token);
        Ok(Response::new(pb::ListModelsResponse { models, next_page_token, catalog_version: present.version.get() }))
    }

    async fn get_catalog_version(
        &self,
        request: Request<pb::GetCatalogVersionRequest>,
    ) -> Result<Response<pb::GetCatalogVersionResponse>, Status> {
        let kept = self.catalogs.version(request.into_inner().version).await?;
        Ok(Response::new(pb::GetCatalogVersionResponse {
            version: kept.version.get(),
            first_used_at: Some(to_timestamp(kept.first_used_at)),
            plans: kept.catalog.plans().iter().map(plan).collect(),
            packs: kept.catalog.packs().iter().map(pack).collect(),
            models: kept.catalog.models().iter().map(model).collect(),
        }))
    }

    async fn reload_catalog(
        &self,
        request: Request<pb::ReloadCatalogRequest>,
    ) -> Result<Response<pb::ReloadCatalogResponse>, Status> {
        let call = Call::of(&request)?;
        let mut message = request.into_inner();
        let request_id = take(&mut message.request_id);
        let asked = Asked::read(call, &request_id, &message, |_, _| Some(()));
        Ok(Response::new(self.reloading.asked(&asked).await?.message()?))
    }
}

impl Stored for Reloaded {
    type Message = pb::ReloadCatalogResponse;
    fn to_message(&self) -> pb::ReloadCatalogResponse {
        pb::ReloadCatalogResponse {
            catalog_version: self.kept.version.get(),
            first_used_at: Some(to_timestamp(self.kept.first_used_at)),
            previous_version: self.before.get(),
        }
    }
}

/// A page of a list of the catalog, by the places in it.
fn page<'a, T>(list: ListKey, all: &'a [T], size: i32, token: &str) -> Result<Page<&'a T>, Problem> {
    let wanted: PageRequest<usize> = PageRequest::parse(size, token, list)?;
    let from = wanted.after().map_or(0, |last| last.saturating_add(1));
    let limit = usize::try_from(wanted.limit()).unwrap_or(usize::MAX);
    let rows = all.iter().enumerate().skip(from).take(limit).collect();
    Ok(wanted.page(rows, |(place, _)| *place)?.map(|(_, row)| row))
}

/// The features as the API names them.
pub(super) fn features(of: Features) -> Vec<i32> {
    let named = |feature| match feature {
        Feature::Organizations => pb::Feature::Organizations,
        Feature::SingleSignOn => pb::Feature::SingleSignOn,
    };
    of.list().map(|feature| named(feature).into()).collect()
}

/// How long one payment lasts, as the API names it.
pub(super) fn interval(interval: Interval) -> pb::PlanInterval {
    match interval {
        Interval::Month => pb::PlanInterval::Month,
        Interval::Year => pb::PlanInterval::Year,
    }
}

/// How many credits of a month are there for one more at most, as the API says it: empty for none.
pub(super) fn rollover(cap: Option<Credits>) -> String {
    cap.map(|cap| cap.to_string()).unwrap_or_default()
}

fn plan(plan: &Plan) -> pb::Plan {
    pb::Plan {
        id: plan.id.to_string(),
        display_name: plan.display_name.clone(),
        price: plan.price.map(to_money),
        credits: plan.price.map(|_| plan.credits.to_string()).unwrap_or_default(),
        scope: scope(&plan.scope),
        seats: plan.seats,
        features: features(Features::of(plan)),
        contract: plan.price.is_none(),
        seat_price: plan.extra_seat.map(|(price, _)| to_money(price)),
        interval: interval(plan.interval).into(),
        credits_per_seat: plan.extra_seat.map(|(_, credits)| credits.to_string()).unwrap_or_default(),
        rollover: rollover(plan.rollover),
        grant_in_grace: plan.grant_in_grace,
    }
}

fn pack(pack: &Pack) -> pb::Pack {
    pb::Pack {
        id: pack.id.to_string(),
        display_name: pack.display_name.clone(),
        price: Some(to_money(pack.price)),
        credits: pack.credits.to_string(),
        scope: scope(&pack.scope),
    }
}

fn model(price: &ModelPrice) -> pb::Model {
    pb::Model {
        id: price.model.to_string(),
        display_name: price.display_name.clone(),
        meters: price.meters.iter().map(meter).collect(),
    }
}

fn meter(price: &MeterPrice) -> pb::Meter {
    pb::Meter {
        meter: price.meter.to_string(),
        unit: price.unit.clone(),
        rates: price.rates.iter().map(rate).collect(),
    }
}

fn rate(rate: &Rate) -> pb::Rate {
    pb::Rate { credits_per_unit: rate.credits_per_unit.to_string(), effective_from: rate.from.map(to_timestamp) }
}

/// A scope as the API names it: absent where it names nothing.
pub(super) fn scope(scope: &Scope) -> Option<pb::Scope> {
    (!scope.is_any()).then(|| pb::Scope {
        models: scope.models().iter().map(ToString::to_string).collect(),
        projects: scope.projects().iter().map(ToString::to_string).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bursar_secret::Secret;

    fn list(name: &str) -> ListKey {
        PageKey::new(Secret::new([7; 32])).list(name, [])
    }

    #[test]
    fn pages_go_through_the_catalog_in_its_order() {
        let all = ["a", "b", "c", "d", "e"];
        let (mut seen, mut token) = (Vec::new(), String::new());
        for length in [2, 2, 1] {
            let found = page(list("ListPlans"), &all, 2, &token).unwrap();
            assert_eq!(found.rows.len(), length);
            seen.extend(found.rows.into_iter().copied());
            token = found.next_page_token;
        }
        assert_eq!((seen.as_slice(), token.as_str()), (all.as_slice(), ""));
        let first = page(list("ListPlans"), &all, 2, "").unwrap().next_page_token;
        let foreign = page(list("ListPacks"), &all, 2, &first).unwrap_err();
        assert_eq!(foreign.reason(), bursar_rpc::reason::PAGE_TOKEN_INVALID);
        assert!(page(list("ListPlans"), &all[..1], 2, &first).unwrap().rows.is_empty(), "a catalog that shrank");
    }

    #[test]
    fn what_is_absent_in_the_catalog_is_absent_in_the_answer() {
        let catalog = crate::catalog::load(None).unwrap();
        let text = crate::catalog::canonical(&catalog).unwrap();
        let text = text
            .replace(r#""credits":"300""#, r#""credits":"300","scope":{"models":["veo-3.1"],"projects":["b","a"]}"#)
            .replace(r#""credits":"6""#, r#""credits":"6","changes":[{"from":"2027-01-01T00:00:00Z","credits":"5"}]"#);
        let catalog = crate::catalog::from_canonical(&text).unwrap();
        let scope = |models: &[&str], projects: &[&str]| {
            let texts = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
            Some(pb::Scope { models: texts(models), projects: texts(projects) })
        };
        assert_eq!(pack(catalog.pack("starter").unwrap()).scope, scope(&["veo-3.1"], &["a", "b"]));
        assert_eq!(pack(catalog.pack("premium").unwrap()).scope, None);
        let (contract, free) = (plan(catalog.plan("enterprise").unwrap()), plan(catalog.plan("free").unwrap()));
        assert_eq!((contract.contract, contract.credits.as_str(), contract.price), (true, "", None));
        assert_eq!((free.contract, free.credits.as_str(), free.scope), (false, "0", None));
        let meters = model(&catalog.models()[0]).meters;
        let rates: Vec<_> = meters[0]
            .rates
            .iter()
            .map(|it| (it.credits_per_unit.as_str(), it.effective_from.map(|from| from.seconds)))
            .collect();
        assert_eq!((meters[0].meter.as_str(), meters[0].unit.as_str()), ("seconds", "second"));
        assert_eq!(rates, [("6", None), ("5", Some(1_798_761_600))]);
    }
}
