//! Billing's `UsageService`, as far as organization asks it.

use std::sync::{Arc, Mutex};

use bursar_proto::billing::v1::usage_service_server::UsageService;
use bursar_proto::billing::v1::{
    ExportUsageRequest, ExportUsageResponse, GroupBy, Interval, QueryUsageRequest, QueryUsageResponse, UsageRow,
};
use bursar_rpc::convert::to_timestamp;
use bursar_testkit::at;
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

/// What billing knows of usage, and what it was asked. Two pages of every report.
#[derive(Clone, Default)]
pub(crate) struct Usage(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    fails: Option<Status>,
    asked: Vec<QueryUsageRequest>,
    gate: Option<Arc<Semaphore>>,
}

impl Usage {
    /// From now on this is the answer.
    pub(crate) fn fail(&self, status: Status) {
        self.0.lock().expect("not poisoned").fails = Some(status);
    }

    /// From now on nothing is answered until this has permits.
    pub(crate) fn hold(&self) -> Arc<Semaphore> {
        let gate = Arc::new(Semaphore::new(0));
        self.0.lock().expect("not poisoned").gate = Some(Arc::clone(&gate));
        gate
    }

    /// What was asked since the last time.
    pub(crate) fn asked(&self) -> Vec<QueryUsageRequest> {
        std::mem::take(&mut self.0.lock().expect("not poisoned").asked)
    }
}

#[tonic::async_trait]
impl UsageService for Usage {
    async fn query_usage(&self, request: Request<QueryUsageRequest>) -> Result<Response<QueryUsageResponse>, Status> {
        let request = request.into_inner();
        let gate = self.0.lock().expect("not poisoned").gate.clone();
        if let Some(gate) = gate {
            let _through = gate.acquire().await.expect("never closed");
        }
        let mut state = self.0.lock().expect("not poisoned");
        state.asked.push(request.clone());
        if let Some(status) = &state.fails {
            return Err(status.clone());
        }
        assert_eq!(request.interval(), Interval::Day);
        let has = |group: GroupBy| request.group_by().any(|asked| asked == group);
        let text = |there: bool, text: &str| if there { text.to_owned() } else { String::new() };
        let page = if request.page_token.is_empty() { "1" } else { "2" };
        let meters = has(GroupBy::Meter);
        let row = UsageRow {
            interval_start: Some(to_timestamp(at(&format!("2026-01-0{page}T00:00:00Z")))),
            member: text(has(GroupBy::Member), "usr_1"),
            project: text(has(GroupBy::Project), "site"),
            model: text(has(GroupBy::Model), "large"),
            meter: text(meters, "input"),
            quantity: text(meters, "1000"),
            charged: "2.5".to_owned(),
            refunded: text(!meters, "0.5"),
            net: text(!meters, "2"),
            count: u64::from(!meters),
        };
        let next_page_token = text(page == "1", "more");
        Ok(Response::new(QueryUsageResponse { rows: vec![row], next_page_token, held: "0".to_owned() }))
    }

    type ExportUsageStream = tokio_stream::Empty<Result<ExportUsageResponse, Status>>;

    async fn export_usage(&self, _: Request<ExportUsageRequest>) -> Result<Response<Self::ExportUsageStream>, Status> {
        Err(Status::unimplemented("organization asks for no CSV"))
    }
}
