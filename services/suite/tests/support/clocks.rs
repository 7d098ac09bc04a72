//! The test clocks of a deployment: one in each process, moved together.

use bursar_proto::testing::v1::{AdvanceRequest, GetRequest};
use bursar_rpc::convert::{required_timestamp, to_duration};
use bursar_testkit::Client;
use bursar_time::{Span, Timestamp};

use super::given;

/// Moves every service's clock to one time; in one process they are one clock.
pub(crate) async fn advance_to(anybody: &Client, target: Timestamp) {
    for mut clock in [anybody.identity_clock(), anybody.organization_clock(), anybody.billing_clock()] {
        let now = required_timestamp(given(clock.get(GetRequest {}).await).now).expect("a time");
        let by = target.since(now);
        if !by.is_zero() {
            given(clock.advance(AdvanceRequest { by: Some(to_duration(by)) }).await);
        }
    }
}

/// Moves every service's clock on, from where the latest of them is.
pub(crate) async fn leap(anybody: &Client, by: Span) {
    let mut latest = Timestamp::EPOCH;
    for mut clock in [anybody.identity_clock(), anybody.organization_clock(), anybody.billing_clock()] {
        let now = required_timestamp(given(clock.get(GetRequest {}).await).now).expect("a time");
        latest = latest.max(now);
    }
    advance_to(anybody, latest.saturating_add(by)).await;
}
