//! Events as the services tell them.

use bursar_id::kinds;
use bursar_proto::event::v1::event::Payload;
use bursar_proto::event::v1::{
    AllowanceAlert, AuditRecorded, DeploymentPolicyChanged, Event, InvoiceIssued, LimitAlert, MembershipChanged,
    OrganizationCreated, OrganizationPolicyChanged, OrganizationStandingChanged, OrganizationUpdated, PlanFeatures,
    ProjectsChanged, SubscriptionChanged, TopUpStopped, UserDeleted, UserStandingChanged, UserStaying, UserUpdated,
};
use bursar_proto::organization::v1::{AdminBilling, OrganizationState, Policy, Role, Spending};
use bursar_rpc::convert::to_timestamp;

use crate::{START, at, id, organization, personal};

/// One event of each type, about people and organizations whose numbers are 1 and 2.
pub fn one_of_each() -> Vec<Event> {
    let from_billing = from_billing(&organization(1).to_string());
    from_organization().into_iter().chain(from_identity()).chain(from_billing).map(told).collect()
}

/// One event of each type that billing tells, about the own account of the person whose number is 1.
pub fn of_a_person() -> Vec<Event> {
    from_billing(&personal(1).to_string()).into_iter().map(told).collect()
}

fn told(payload: Payload) -> Event {
    Event {
        id: id::<kinds::Event>(1).to_string(),
        r#type: payload.type_name().to_owned(),
        owner: payload.owner().to_owned(),
        occurred_at: Some(to_timestamp(at(START))),
        incarnation: 1,
        payload: Some(payload),
    }
}

fn from_organization() -> Vec<Payload> {
    let (acme, ada) = (organization(1).to_string(), personal(1).to_string());
    let created = OrganizationCreated {
        organization_id: acme.clone(),
        owner_user_id: ada.clone(),
        name: "Acme".to_owned(),
        slug: "acme".to_owned(),
        created_by_session_id: id::<kinds::Session>(1).to_string(),
        ..OrganizationCreated::default()
    };
    let updated =
        OrganizationUpdated { organization_id: acme.clone(), name: "Acme & Sons".to_owned(), slug: "acme".to_owned() };
    let member =
        MembershipChanged { organization_id: acme.clone(), user_id: ada, role: Role::Owner.into(), version: 1 };
    let own = Policy { admin_billing: AdminBilling::Manage.into(), ..Policy::default() };
    let of_all = Policy { spending: Spending::Services.into(), ..own.clone() };
    let policy = OrganizationPolicyChanged { organization_id: acme.clone(), policy: Some(own), version: 1 };
    let standing = OrganizationStandingChanged {
        organization_id: acme.clone(),
        state: OrganizationState::Active.into(),
        purged: false,
        version: 1,
    };
    let projects = [1, 2].map(|n| id::<kinds::Project>(n).to_string()).to_vec();
    let projects = ProjectsChanged { owner: acme, project_ids: projects, deleted: false };
    vec![
        Payload::OrganizationCreated(created),
        Payload::OrganizationUpdated(updated),
        Payload::MembershipChanged(member),
        Payload::OrganizationPolicyChanged(policy),
        Payload::OrganizationStandingChanged(standing),
        Payload::DeploymentPolicyChanged(DeploymentPolicyChanged { policy: Some(of_all), version: 1 }),
        Payload::ProjectsChanged(projects),
    ]
}

fn from_identity() -> Vec<Payload> {
    let (ada, ben) = (personal(1).to_string(), personal(2).to_string());
    let updated = UserUpdated { user_id: ada.clone(), display_name: "Ada".to_owned() };
    let deleted = UserDeleted { user_id: ben };
    let staying = UserStaying { user_id: ada.clone(), number: 1 };
    let standing = UserStandingChanged { user_id: ada, suspended: true, version: 1 };
    vec![
        Payload::UserUpdated(updated),
        Payload::UserDeleted(deleted),
        Payload::UserStaying(staying),
        Payload::UserStandingChanged(standing),
    ]
}

fn from_billing(owner: &str) -> Vec<Payload> {
    let (owner, ada) = (owner.to_owned(), personal(1).to_string());
    let now = Some(to_timestamp(at(START)));
    let changed = SubscriptionChanged {
        owner: owner.clone(),
        plan_id: "business".to_owned(),
        seats: 5,
        state: "ACTIVE".to_owned(),
        features: Some(PlanFeatures { names: vec!["SINGLE_SIGN_ON".to_owned()] }),
    };
    let limit = LimitAlert {
        owner: owner.clone(),
        limit_id: id::<kinds::Limit>(1).to_string(),
        subject: "member".to_owned(),
        member: ada.clone(),
        window: "MONTH".to_owned(),
        mode: "HARD".to_owned(),
        amount: "100".to_owned(),
        used: "81.5".to_owned(),
        percents: vec![50, 80],
        starts_at: now,
        resets_at: now,
    };
    let allowance = AllowanceAlert {
        owner: ada.clone(),
        percents: vec![80, 100],
        used: "81.5".to_owned(),
        granted: "100".to_owned(),
        period_ends_at: now,
    };
    let stopped = TopUpStopped {
        owner: owner.clone(),
        set_by: ada.clone(),
        reason: "DECLINED".to_owned(),
        pack_id: "small".to_owned(),
        at: now,
    };
    let issued = InvoiceIssued { owner: owner.clone(), invoice_id: "in_1".to_owned() };
    let recorded = AuditRecorded {
        id: id::<kinds::Audit>(1).to_string(),
        at: now,
        owner,
        actor: ada,
        method: "bursar.billing.v1.LimitService/SetLimit".to_owned(),
        outcome: "DONE".to_owned(),
        request_id: "r1".to_owned(),
        ..AuditRecorded::default()
    };
    vec![
        Payload::SubscriptionChanged(changed),
        Payload::LimitAlert(limit),
        Payload::AllowanceAlert(allowance),
        Payload::TopUpStopped(stopped),
        Payload::InvoiceIssued(issued),
        Payload::AuditRecorded(recorded),
    ]
}

#[cfg(test)]
mod tests {
    use bursar_proto::event_type;

    use super::*;

    #[test]
    fn there_is_one_of_each_type() {
        let events = one_of_each();
        let mut told: Vec<&str> = events.iter().map(|event| event.r#type.as_str()).collect();
        let mut all = event_type::ALL.to_vec();
        told.sort_unstable();
        all.sort_unstable();
        assert_eq!(told, all);
    }

    #[test]
    fn what_is_of_a_person_is_of_no_organization() {
        let events = of_a_person();
        assert!(events.iter().all(|event| event.owner == personal(1).to_string()));
        let types = |events: &[Event]| events.iter().map(|event| event.r#type.clone()).collect::<Vec<_>>();
        assert_eq!(
            types(&events),
            types(&from_billing(&organization(1).to_string()).into_iter().map(told).collect::<Vec<_>>())
        );
    }
}
