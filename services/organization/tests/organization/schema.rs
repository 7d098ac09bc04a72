//! What the database itself refuses, whatever the program does.

use bursar_db::{Db, DbError, Tx, on};
use bursar_id::{OrganizationId, Role, UserId};
use bursar_organization::domain::slug::Slug;
use bursar_organization::store::memberships::{self, Ending, Joining};
use bursar_organization::store::organizations::{self, OrganizationRow};
use bursar_organization::store::standings::Life;
use bursar_organization::store::{MIGRATIONS, slugs, users};
use bursar_testkit::{START, at, id};
use bursar_time::Timestamp;

fn now() -> Timestamp {
    at(START)
}

async fn join(tx: &mut Tx, organization: OrganizationId, user: UserId, role: Role) -> Result<Option<u64>, DbError> {
    users::lock(tx, user).await?;
    let joining = Joining { organization, user, role, email: "A@x.org", email_key: "a@x.org" };
    memberships::join(tx, &joining, now()).await
}

async fn found(tx: &mut Tx, organization: OrganizationId, owner: UserId, slug: &str) -> Result<(), DbError> {
    let slug = Slug::parse(slug).expect("a slug");
    slugs::take(tx, &slug, organization, now()).await?;
    let row = OrganizationRow {
        id: organization,
        name: "Acme".to_owned(),
        slug: slug.as_str().to_owned(),
        owner_user_id: owner,
        version: 1,
        created_at: now(),
        updated_at: now(),
        life: Life::ACTIVE,
    };
    organizations::insert(tx, &row).await
}

/// An organization with an owner and a member.
async fn acme(db: &Db) -> (OrganizationId, UserId, UserId) {
    let (acme, ada, ben) = (id(1), id(1), id(2));
    let mut tx = db.begin().await.expect("a transaction");
    found(&mut tx, acme, ada, "acme").await.expect("inserted");
    join(&mut tx, acme, ada, Role::Owner).await.expect("joined");
    join(&mut tx, acme, ben, Role::Member).await.expect("joined");
    tx.commit().await.expect("an organization with its owner");
    (acme, ada, ben)
}

#[track_caller]
fn conflict(outcome: Result<(), DbError>, what: &str) {
    match outcome {
        Err(DbError::Conflict { .. }) => {}
        other => panic!("{what}: {other:?}"),
    }
}

bursar_testkit::engines! {
    async fn no_commit_leaves_an_organization_without_its_owner(db: TestDb) {
        let db = db.open(&MIGRATIONS).await;
        let (acme, ada, ben) = acme(&db).await;
        let mut tx = db.begin().await.unwrap();
        found(&mut tx, id(2), ada, "umbra").await.expect("checked at the commit");
        conflict(tx.commit().await, "an owner who is no member");
        let mut tx = db.begin().await.unwrap();
        memberships::end(&mut tx, acme, ada, Ending::Left, now()).await.expect("checked at the commit");
        conflict(tx.commit().await, "an owner who left");
        let mut tx = db.begin().await.unwrap();
        memberships::set_role(&mut tx, acme, ada, Role::Admin, now()).await.expect("checked at the commit");
        conflict(tx.commit().await, "an owner who is an Admin");
        let mut tx = db.begin().await.unwrap();
        organizations::set_owner(&mut tx, acme, ben).await.expect("checked at the commit");
        conflict(tx.commit().await, "an owner with the role of a member");
        let mut tx = db.begin().await.unwrap();
        let second = memberships::set_role(&mut tx, acme, ben, Role::Owner, now()).await.map(|_| ());
        conflict(second, "a second owner");
        drop(tx);
        let mut tx = db.begin().await.unwrap();
        memberships::set_role(&mut tx, acme, ada, Role::Admin, now()).await.unwrap();
        memberships::set_role(&mut tx, acme, ben, Role::Owner, now()).await.unwrap();
        organizations::set_owner(&mut tx, acme, ben).await.unwrap();
        tx.commit().await.expect("a transfer");
    }

    async fn a_membership_s_version_only_grows(db: TestDb) {
        let db = db.open(&MIGRATIONS).await;
        let (acme, _, ben) = acme(&db).await;
        let mut tx = db.begin().await.unwrap();
        let mut versions = vec![memberships::place(&mut tx, acme, ben).await.unwrap().version];
        versions.extend(memberships::set_role(&mut tx, acme, ben, Role::Admin, now()).await.unwrap());
        versions.extend(memberships::end(&mut tx, acme, ben, Ending::Removed, now()).await.unwrap());
        assert_eq!(memberships::end(&mut tx, acme, ben, Ending::Left, now()).await.unwrap(), None);
        assert_eq!(memberships::set_role(&mut tx, acme, ben, Role::Admin, now()).await.unwrap(), None);
        versions.extend(join(&mut tx, acme, ben, Role::Member).await.unwrap());
        assert_eq!(join(&mut tx, acme, ben, Role::Admin).await.unwrap(), None, "a member already");
        versions.push(memberships::place(&mut tx, acme, ben).await.unwrap().version);
        assert_eq!(versions, [1, 2, 3, 4, 4]);
        assert_eq!(memberships::head_count(&mut tx, acme).await.unwrap(), 2);
        tx.commit().await.unwrap();
    }

    async fn a_slug_belongs_to_one_organization_for_ever(db: TestDb) {
        let db = db.open(&MIGRATIONS).await;
        let (acme, ..) = acme(&db).await;
        let [first, second] = ["acme", "acme-two"].map(|slug| Slug::parse(slug).unwrap());
        let mut tx = db.begin().await.unwrap();
        assert!(slugs::take(&mut tx, &second, acme, now()).await.unwrap());
        organizations::update(&mut tx, acme, "Acme", "acme-two", now()).await.unwrap();
        tx.commit().await.unwrap();
        let mut tx = db.begin().await.unwrap();
        assert!(!slugs::take(&mut tx, &first, id(2), now()).await.unwrap(), "the former one is taken");
        assert_eq!(slugs::find(&mut tx, &first).await.unwrap(), Some(acme));
        organizations::update(&mut tx, acme, "Acme", "stolen", now()).await.expect("checked at the commit");
        conflict(tx.commit().await, "a slug that was not taken");
    }

    async fn what_is_no_state_cannot_be_stored(db: TestDb) {
        let db = db.open(&MIGRATIONS).await;
        acme(&db).await;
        for statement in [
            "UPDATE memberships SET role = 'KING'",
            "UPDATE memberships SET role = NULL",
            "UPDATE memberships SET state = 'LEFT'",
            "UPDATE memberships SET version = 0",
            "UPDATE organizations SET owner_role = 'ADMIN'",
            "UPDATE organizations SET owner_user_id = NULL",
            "DELETE FROM users",
        ] {
            let mut tx = db.begin().await.unwrap();
            let outcome = async { on!(&mut tx, c => sqlx::query(statement).execute(c).await?.rows_affected()); Ok(()) }.await;
            conflict(outcome, statement);
        }
    }
}
