//! What an organization used, as billing says, in pages. Organization asks in its own name: an export may go on for longer
//! than the owner's token, and be asked for in another context. So it is here that the policy is obeyed.

use bursar_id::OrganizationId;
use bursar_members::UsageVisibility;
use bursar_proto::billing::v1::usage_service_client::UsageServiceClient;
use bursar_proto::billing::v1::{GroupBy, Interval, QueryUsageRequest, QueryUsageResponse, UsageRow};
use bursar_rpc::convert::to_timestamp;
use bursar_rpc::peer::retry;
use bursar_time::Timestamp;
use tonic::{Code, Request};

use super::super::Organization;
use crate::Error;

/// Rows in one page.
const PAGE: i32 = 1_000;

/// Of what usage is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Report {
    /// Of each member, project and model.
    Members,
    /// Of each project and model: nobody sees more.
    Totals,
    /// Of each meter of each model.
    Meters,
}

impl Report {
    /// What may be told of the organization's usage beside that of meters.
    pub(super) fn permitted(visibility: UsageVisibility) -> Self {
        match visibility {
            UsageVisibility::Nobody => Self::Totals,
            UsageVisibility::Managers | UsageVisibility::Everyone => Self::Members,
        }
    }

    fn groups(self) -> Vec<i32> {
        let groups: &[GroupBy] = match self {
            Self::Members => &[GroupBy::Member, GroupBy::Project, GroupBy::Model],
            Self::Totals => &[GroupBy::Project, GroupBy::Model],
            Self::Meters => &[GroupBy::Model, GroupBy::Meter],
        };
        groups.iter().map(|group| i32::from(*group)).collect()
    }
}

impl Organization {
    /// One page of what an organization used until a time, by day, and the token of the next one; empty after the last.
    pub(super) async fn usage_page(
        &self,
        id: OrganizationId,
        report: Report,
        until: Timestamp,
        page_token: String,
    ) -> Result<(Vec<UsageRow>, String), Error> {
        let message = QueryUsageRequest {
            owner: id.to_string(),
            to: Some(to_timestamp(until)),
            group_by: report.groups(),
            interval: Interval::Day.into(),
            page_size: PAGE,
            page_token,
            ..QueryUsageRequest::default()
        };
        let answer = retry(&self.0.entropy, || {
            let mut client = UsageServiceClient::new(self.0.billing.clone());
            let request = Request::new(message.clone());
            async move { client.query_usage(request).await }
        });
        match answer.await {
            Ok(answer) => {
                let QueryUsageResponse { rows, next_page_token, .. } = answer.into_inner();
                Ok((rows, next_page_token))
            }
            // Nothing was ever used where no account was opened.
            Err(status) if status.code() == Code::NotFound => Ok((Vec::new(), String::new())),
            Err(status) => Err(Error::Billing(Box::new(status))),
        }
    }
}
