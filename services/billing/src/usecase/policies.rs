//! The deployment's policies, as far as the credit rules go by them.

use std::sync::Arc;

use bursar_db::{Db, DbError};
use bursar_members::{PersonalWorkspace, Policy};

use crate::domain::Spending;
use crate::lane::RulesSource;

/// Has the lanes go by the policies that the store knows, whichever replica has applied the event that told of them.
/// `false`: none are known yet.
pub(crate) async fn follow(db: &Db, rules: &Arc<RulesSource>) -> Result<bool, DbError> {
    let told = bursar_members::policies::of_now(db, &[]).await?.deployment();
    if let Some(policy) = told {
        rules.follow(spending(policy), policy.personal_workspace == PersonalWorkspace::On);
    }
    Ok(told.is_some())
}

/// Who may spend, by the deployment's policy.
fn spending(policy: Policy) -> Spending {
    match policy.spending {
        bursar_members::Spending::UsersAndServices => Spending::UsersAndServices,
        bursar_members::Spending::Services => Spending::Services,
    }
}
