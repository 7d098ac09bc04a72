//! `bursar.testing.v1.ClockService`: moves the test clock of this process.

use bursar_proto::testing::v1::{
    AdvanceRequest, AdvanceResponse, GetRequest, GetResponse, SetRequest, SetResponse,
    clock_service_server::ClockService,
};
use bursar_rpc::{Problem, convert};
use bursar_time::{Clock, ClockError};
use tonic::{Request, Response, Status};

/// The reason for refusing to turn the time back.
const CLOCK_CANNOT_GO_BACK: &str = "CLOCK_CANNOT_GO_BACK";

/// Serves a test clock. In the suite every port serves the same one.
#[derive(Debug, Clone)]
pub(crate) struct Clockwork {
    clock: Clock,
}

impl Clockwork {
    pub(crate) const fn new(clock: Clock) -> Self {
        Self { clock }
    }
}

#[tonic::async_trait]
impl ClockService for Clockwork {
    async fn get(&self, _: Request<GetRequest>) -> Result<Response<GetResponse>, Status> {
        Ok(Response::new(GetResponse { now: Some(convert::to_timestamp(self.clock.now())) }))
    }

    async fn set(&self, request: Request<SetRequest>) -> Result<Response<SetResponse>, Status> {
        let to = convert::required_timestamp(request.into_inner().now)
            .map_err(|error| Problem::invalid_field("now", error.to_string()))?;
        self.clock.set(to).map_err(|error| problem("now", error))?;
        tracing::info!(now = %to, "the test clock was set");
        Ok(Response::new(SetResponse { now: Some(convert::to_timestamp(to)) }))
    }

    async fn advance(&self, request: Request<AdvanceRequest>) -> Result<Response<AdvanceResponse>, Status> {
        let by = convert::required_span(request.into_inner().by)
            .map_err(|error| Problem::invalid_field("by", error.to_string()))?;
        let now = self.clock.advance(by).map_err(|error| problem("by", error))?;
        tracing::info!(%now, "the test clock was moved");
        Ok(Response::new(AdvanceResponse { now: Some(convert::to_timestamp(now)) }))
    }
}

fn problem(field: &'static str, error: ClockError) -> Problem {
    match error {
        ClockError::Backwards { .. } => Problem::failed_precondition(CLOCK_CANNOT_GO_BACK, error.to_string()),
        ClockError::OutOfRange => Problem::invalid_field(field, error.to_string()),
        ClockError::NotATestClock => Problem::internal(&error),
    }
}
