//! The allowances of accounts whose managers want to be told how much of them is used: counting that where no row says it, and
//! the events that tell.

use bursar_db::{DbError, Tx};
use bursar_id::OwnerId;
use bursar_proto::event::v1::AllowanceAlert as Told;
use bursar_proto::event::v1::event::Payload;
use bursar_rpc::convert::to_timestamp;
use bursar_time::Timestamp;

use super::load::States;
use crate::domain::{AccountState, AllowanceAlert, Lot, Total};
use crate::store::lots;

/// Lots that are read at once, the newest first.
const PORTION: usize = 100;

/// How many lots are looked through for those of a period: more were not granted since it began, or what is older of it does not count.
const MOST: usize = 1_000;

/// Counts what is used of allowances where somebody wants to be told and the account's row does not say it: since the
/// percentages were set, or since a program has booked that knows nothing of them. Otherwise nothing is asked.
pub(super) async fn load(tx: &mut Tx, states: &mut States, now: Timestamp) -> Result<(), DbError> {
    let lacking: Vec<OwnerId> =
        states.values().filter(|state| state.lacks_allowance()).map(AccountState::owner).collect();
    for owner in lacking {
        let newest = newest(tx, owner, now).await?;
        if let Some(state) = states.get_mut(&owner) {
            state.load_allowance(newest.iter().rev(), now);
        }
    }
    Ok(())
}

/// An owner's lots back to those of a period that is over, the newest first.
async fn newest(tx: &mut Tx, owner: OwnerId, now: Timestamp) -> Result<Vec<Lot>, DbError> {
    let (mut found, mut before): (Vec<Lot>, i64) = (Vec::new(), i64::MAX);
    let portion = i64::try_from(PORTION).unwrap_or(i64::MAX);
    while found.len() < MOST {
        let page = lots::page(tx, owner, before, portion).await?;
        let all = found.len() + PORTION;
        found.extend(page.into_iter().take_while(|lot| !lot.is_former_allowance(now)));
        if found.len() < all {
            break;
        }
        before = found.last().map_or(before, |lot| i64::try_from(lot.number).unwrap_or(i64::MAX));
    }
    Ok(found)
}

/// The event that tells of an alert.
pub(super) fn told(owner: OwnerId, alert: &AllowanceAlert) -> Payload {
    let AllowanceAlert { percents, used, granted, ends_at } = alert;
    Payload::AllowanceAlert(Told {
        owner: owner.to_string(),
        percents: percents.clone(),
        used: Total(*used).to_string(),
        granted: Total(*granted).to_string(),
        period_ends_at: Some(to_timestamp(*ends_at)),
    })
}
