//! What billing tells of limits and allowances is mailed to those who manage an organization's billing, and to nobody else.

use bursar_db::DbError;
use bursar_id::{LimitId, Role, UserId};
use bursar_members::{AdminBilling, BalanceVisibility, CreditUnit, Policy};
use bursar_organization::domain::standing::{Deletion, Standing};
use bursar_organization::store::{organizations, standings};
use bursar_proto::event::v1::event::Payload;
use bursar_proto::event::v1::{AllowanceAlert, LimitAlert, TopUpStopped};
use bursar_proto::organization::v1 as proto;
use bursar_rpc::convert::to_timestamp;
use bursar_testkit::id;
use bursar_time::{Span, Timestamp};

use crate::invoicing;
use crate::world::{Who, World, set_policy, until};

/// Of the limits that these tests are about.
const LIMIT: &str = "lim_00000000000000000000000001";
const OTHER: &str = "lim_00000000000000000000000002";

fn alert(world: &World, organization: &str, member: &impl ToString, used: &str) -> Payload {
    alert_of(world, organization, member, used, (LIMIT, 80))
}

fn alert_of(
    world: &World,
    organization: &str,
    member: &impl ToString,
    used: &str,
    (limit, percent): (&str, u32),
) -> Payload {
    Payload::LimitAlert(LimitAlert {
        owner: organization.to_owned(),
        limit_id: limit.to_owned(),
        subject: "every_member".to_owned(),
        member: member.to_string(),
        window: "DAY".to_owned(),
        mode: "HARD".to_owned(),
        amount: "10".to_owned(),
        used: used.to_owned(),
        percents: vec![50, percent],
        starts_at: Some(to_timestamp(world.clock.now())),
        resets_at: Some(to_timestamp(world.clock.now().saturating_add(Span::HOUR))),
    })
}

/// To whom of these mails about a limit went whose use was so much: each as often as it got one.
fn told(world: &World, people: &[&Who], used: &str) -> Vec<String> {
    let says = format!("has used {used} of the 10 credits");
    let theirs = people.iter().flat_map(|who| world.mailbox.to(&who.email));
    theirs.filter(|mail| mail.text.contains(&says)).map(|mail| mail.to).collect()
}

fn allowance(world: &World, organization: &str, used: &str) -> Payload {
    allowance_at(world, organization, used, 80)
}

fn allowance_at(world: &World, organization: &str, used: &str, percent: u32) -> Payload {
    Payload::AllowanceAlert(AllowanceAlert {
        owner: organization.to_owned(),
        percents: vec![50, percent],
        used: used.to_owned(),
        granted: "10".to_owned(),
        period_ends_at: Some(to_timestamp(world.clock.now().saturating_add(Span::HOUR))),
    })
}

/// To whom of these mails about an allowance went of which so much was used: each as often as it got one.
fn told_of_allowance(world: &World, people: &[&Who], used: &str) -> Vec<String> {
    let says = format!("has used {used} of the 10 words that its plan");
    let theirs = people.iter().flat_map(|who| world.mailbox.to(&who.email));
    theirs.filter(|mail| mail.text.contains(&says)).map(|mail| mail.to).collect()
}

fn stopped(organization: &str, set_by: &impl ToString, pack: &str) -> Payload {
    stopped_at(organization, set_by, pack, None)
}

fn stopped_at(organization: &str, set_by: &impl ToString, pack: &str, at: Option<Timestamp>) -> Payload {
    Payload::TopUpStopped(TopUpStopped {
        owner: organization.to_owned(),
        set_by: set_by.to_string(),
        reason: "PAYMENT_DECLINED".to_owned(),
        pack_id: pack.to_owned(),
        at: at.map(to_timestamp),
    })
}

/// To whom of these mails went about a top-up of a pack: each as often as it got one.
fn told_of_top_up(world: &World, people: &[&Who], pack: &str) -> Vec<String> {
    let says = format!("buys the pack \"{pack}\"");
    let theirs = people.iter().flat_map(|who| world.mailbox.to(&who.email));
    theirs.filter(|mail| mail.text.contains(&says)).map(|mail| mail.to).collect()
}

/// Waits until all that billing has told is heard, and all that is to be mailed is mailed; so many seats were not known yet.
async fn all_mailed(world: &World, organization: &str, seats: u32) {
    // What billing tells afterwards is known, so the rest is behind.
    world.tells_seats(organization, seats).await;
    invoicing::all_mailed(world).await;
}

bursar_testkit::engines! {
    async fn whoever_had_switched_a_top_up_on_is_told_that_it_is_off(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let ada = world.acting(&ada, &acme);
        let ben = world.join(&ada, &acme, 2, Role::Admin).await;
        let cem = world.join(&ada, &acme, 3, Role::Member).await;
        let all = [&ada, &ben, &cem];
        world.billing_tells(stopped(&acme, &ben.user, "starter")).await;
        until("the Admin is told", async || told_of_top_up(&world, &all, "starter") == [ben.email.clone()]).await;
        // Somebody who is gone is not: the owner is. A person's own is nobody's mail here, nor that of a stranger's organization.
        world.billing_tells(stopped(&acme, &id::<bursar_id::kinds::User>(77), "standard")).await;
        world.billing_tells(stopped(&cem.user.to_string(), &cem.user, "premium")).await;
        world.billing_tells(stopped(&bursar_testkit::organization(77).to_string(), &cem.user, "premium")).await;
        until("the owner is told", async || told_of_top_up(&world, &all, "standard") == [ada.email.clone()]).await;
        for _ in 0..30 {
            world.billing_tells(stopped(&acme, &ben.user, "again")).await;
        }
        all_mailed(&world, &acme, 7).await;
        assert_eq!(told_of_top_up(&world, &all, "again").len(), 18, "as many as are told a day");
        assert_eq!(told_of_top_up(&world, &all, "premium"), Vec::<String>::new());
    }

    async fn a_stopped_top_up_that_is_told_again_is_mailed_once(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let (now, later) = (world.clock.now(), world.clock.now().saturating_add(Span::SECOND));
        for _ in 0..3 {
            world.billing_tells(stopped_at(&acme, &ada.user, "starter", Some(now))).await;
        }
        until("it is told", async || told_of_top_up(&world, &[&ada], "starter") == [ada.email.clone()]).await;
        // Once it has been switched on again, it is another one; and what was told again has used up nothing.
        for n in 0..30 {
            let at = later.saturating_add(Span::from_secs(n));
            world.billing_tells(stopped_at(&acme, &ada.user, "standard", Some(at))).await;
        }
        all_mailed(&world, &acme, 7).await;
        assert_eq!(told_of_top_up(&world, &[&ada], "standard").len(), 19, "as many as are told a day");
        assert_eq!(told_of_top_up(&world, &[&ada], "starter"), [&*ada.email]);
    }

    /// What a purge forgets is what is queued when it begins: an alert waits for it.
    async fn no_alert_is_queued_behind_the_back_of_a_purge_that_begins(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let (acme, umbra) = (world.create(&ada, "Acme").await.id, world.create(&ada, "Umbra").await.id);
        let (organization, now) = (acme.parse().expect("an id"), world.clock.now());
        let deletion = Deletion { at: now, purge_at: now };
        let purging = async {
            let mut tx = world.store.begin().await?;
            organizations::by_id_locked(&mut tx, organization).await?;
            standings::set(&mut tx, organization, Standing::Deleted(deletion)).await?;
            standings::begin_purge(&mut tx, organization, Standing::Purging(deletion)).await?;
            Ok::<_, DbError>(tx)
        };
        let tx = purging.await.expect("it begins");
        world.billing_tells(alert(&world, &acme, &"", "5")).await;
        world.billing_tells(alert(&world, &umbra, &"", "6")).await;
        // Time enough to slip through, for whoever does not wait.
        let slips = async { while told(&world, &[&ada], "6").is_empty() { tokio::task::yield_now().await } };
        let slipped = tokio::time::timeout(std::time::Duration::from_millis(200), slips).await;
        tx.commit().await.expect("it has begun");
        assert!(slipped.is_err(), "what is told is told in its order, and the first waits");
        until("the other one is told", async || !told(&world, &[&ada], "6").is_empty()).await;
        assert_eq!(told(&world, &[&ada], "5"), Vec::<String>::new());
    }

    async fn an_alert_is_mailed_to_who_manages_billing(db: TestDb) {
        let policy = Policy { admin_billing: AdminBilling::Manage, ..Policy::default() };
        let world = World::start_with(db, |settings| settings.policies = policy).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let ada = world.acting(&ada, &acme);
        let ben = world.join(&ada, &acme, 2, Role::Admin).await;
        let cem = world.join(&ada, &acme, 3, Role::Member).await;
        world.billing_tells(alert(&world, &acme, &cem.user, "5")).await;
        let (all, managers) = ([&ada, &ben, &cem], [ada.email.clone(), ben.email.clone()]);
        until("both are told", async || told(&world, &all, "5") == managers).await;
        // A person's own limits are nobody's mail here, and an event that names no organization of ours stops nothing.
        world.billing_tells(alert(&world, &cem.user.to_string(), &cem.user, "6")).await;
        world.billing_tells(alert(&world, &bursar_testkit::organization(77).to_string(), &cem.user, "6")).await;
        world.billing_tells(alert(&world, &acme, &"", "7")).await;
        until("both are told again", async || told(&world, &all, "7") == managers).await;
        assert_eq!(told(&world, &all, "6"), Vec::<String>::new());
        // However often one goes up and down, the mails of a day are bounded, and the last of them says so.
        for _ in 0..60 {
            world.billing_tells(alert(&world, &acme, &"", "8")).await;
        }
        world.billing_tells(alert(&world, &acme, &"", "9")).await;
        // Nor does one member use up what the others' need.
        for _ in 0..60 {
            world.billing_tells(alert_of(&world, &acme, &cem.user, "12", (OTHER, 50))).await;
        }
        world.billing_tells(alert_of(&world, &acme, &ben.user, "13", (OTHER, 50))).await;
        all_mailed(&world, &acme, 7).await;
        assert_eq!(told(&world, &all, "13"), managers, "both are told of another member");
        assert_eq!(told(&world, &all, "12").len(), 4 * managers.len());
        // Nobody else's alerts are: of another limit, or of more of this one.
        world.billing_tells(alert_of(&world, &acme, &"", "10", (OTHER, 80))).await;
        world.billing_tells(alert_of(&world, &acme, &"", "11", (LIMIT, 100))).await;
        until("both are told of more of it", async || told(&world, &all, "11") == managers).await;
        until("both are told of the other", async || told(&world, &all, "10") == managers).await;
        let most = 18 * managers.len();
        all_mailed(&world, &acme, 8).await;
        assert_eq!(told(&world, &all, "8").len(), most, "as many as are sent a day");
        assert_eq!(told(&world, &all, "9"), Vec::<String>::new());
        let last = world.mailbox.to(&ben.email).into_iter().filter(|mail| mail.text.contains("are not mailed today"));
        assert_eq!(last.count(), 2);
    }

    async fn an_allowances_alert_is_mailed_to_who_manages_billing(db: TestDb) {
        let credit_unit = CreditUnit::WORDS;
        let managers = BalanceVisibility::Managers;
        let policy = Policy { balance_visibility: managers, credit_unit, ..Policy::default() };
        let world = World::start_with(db, |settings| settings.policies = policy).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let ada = world.acting(&ada, &acme);
        let ben = world.join(&ada, &acme, 2, Role::Admin).await;
        let cem = world.join(&ada, &acme, 3, Role::Member).await;
        let (all, managers) = ([&ada, &ben, &cem], [ada.email.clone(), ben.email.clone()]);
        world.billing_tells(allowance(&world, &acme, "8")).await;
        until("both are told", async || told_of_allowance(&world, &all, "8") == managers).await;
        // A person's own is nobody's mail here, nor is that of a stranger's organization, or of a period that is over.
        let late = allowance(&world, &acme, "6");
        world.clock.advance(Span::HOUR).unwrap();
        world.billing_tells(late).await;
        world.billing_tells(allowance(&world, &cem.user.to_string(), "6")).await;
        world.billing_tells(allowance(&world, &bursar_testkit::organization(77).to_string(), "6")).await;
        // However often it goes up and down, the mails of a day are bounded.
        for _ in 0..30 {
            world.billing_tells(allowance(&world, &acme, "9")).await;
        }
        all_mailed(&world, &acme, 7).await;
        assert_eq!(told_of_allowance(&world, &all, "6"), Vec::<String>::new());
        assert_eq!(told_of_allowance(&world, &all, "9").len(), 19 * managers.len(), "as many as are sent a day");
        let last = world.mailbox.to(&ben.email).into_iter().filter(|mail| mail.text.contains("are not mailed today"));
        assert_eq!(last.count(), 1, "the last one says so");
        // Nor does that use up what another percentage needs.
        world.billing_tells(allowance_at(&world, &acme, "10", 100)).await;
        until("both are told of all of it", async || told_of_allowance(&world, &all, "10") == managers).await;
    }

    async fn what_is_mailed_to_nobody_uses_up_nothing_and_all_alerts_of_a_day_are_bounded(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        // Five members use up what is mailed of one limit, so a sixth's is not mailed, however often.
        let member = |n| -> UserId { id(n) };
        for n in 1..=5 {
            for _ in 0..4 {
                world.billing_tells(alert(&world, &acme, &member(n), "1")).await;
            }
        }
        // A limit that is made anew each time has counts of its own, but not the organization.
        for n in 0..200 {
            let limit: LimitId = id(100 + n);
            world.billing_tells(alert_of(&world, &acme, &"", "3", (&limit.to_string(), 80))).await;
        }
        all_mailed(&world, &acme, 6).await;
        assert_eq!(told(&world, &[&ada], "3").len(), 180, "as many as are sent a day");
        world.clock.advance(Span::HOUR).unwrap();
        for _ in 0..4 {
            world.billing_tells(alert(&world, &acme, &member(6), "2")).await;
        }
        all_mailed(&world, &acme, 7).await;
        assert_eq!((told(&world, &[&ada], "1").len(), told(&world, &[&ada], "2").len()), (20, 0));
        // A day after those that were mailed; not after those that were not.
        world.clock.advance(Span::from_hours(23)).unwrap();
        world.billing_tells(alert(&world, &acme, &member(6), "4")).await;
        until("the sixth's is told another day", async || told(&world, &[&ada], "4").len() == 1).await;
        assert_eq!((told(&world, &[&ada], "2").len(), told(&world, &[&ada], "3").len()), (0, 180));
    }

    async fn credits_are_called_what_the_policy_calls_them(db: TestDb) {
        let policy = Policy { credit_unit: CreditUnit::WORDS, ..Policy::default() };
        let world = World::start_with(db, |settings| settings.policies = policy).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let ada = world.acting(&ada, &acme);
        world.billing_tells(alert(&world, &acme, &"", "5")).await;
        world.billing_tells(stopped(&acme, &ada.user, "starter")).await;
        let says = |text: &str| world.mailbox.to(&ada.email).iter().any(|mail| mail.text.contains(text));
        until("the alert is mailed", async || says("has used 5 of the 10 ")).await;
        assert!(says("has used 5 of the 10 words"), "{:?}", world.mailbox.to(&ada.email));
        until("the stopped top-up is mailed", async || says("buys the pack \"starter\"")).await;
        assert!(says("too few words") && !says("credit"), "{:?}", world.mailbox.to(&ada.email));
    }

    async fn an_alert_tells_nothing_of_single_members_that_the_policy_hides(db: TestDb) {
        let policy = Policy { admin_billing: AdminBilling::Manage, ..Policy::default() };
        let world = World::start_with(db, |settings| settings.policies = policy).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let nobody = proto::UsageVisibility::Nobody.into();
        let hidden = proto::Policy { usage_visibility: nobody, ..Default::default() };
        set_policy(&ada, &acme, "usage_visibility", hidden).await.expect("updated");
        let ada = world.acting(&ada, &acme);
        let ben = world.join(&ada, &acme, 2, Role::Admin).await;
        let cem = world.join(&ada, &acme, 3, Role::Member).await;
        let managers = [ada.email.clone(), ben.email.clone()];
        let about = |subject: &str, member: &str, used: &str| {
            let Payload::LimitAlert(alert) = alert(&world, &acme, &member, used) else { panic!("no alert") };
            Payload::LimitAlert(LimitAlert { subject: subject.to_owned(), ..alert })
        };
        let key: bursar_id::ApiKeyId = id(5);
        world.billing_tells(about("every_member", &cem.user.to_string(), "7.25")).await;
        world.billing_tells(about(&format!("member:{}", cem.user), &cem.user.to_string(), "7.25")).await;
        world.billing_tells(about(&format!("api_key:{key}"), "", "7.25")).await;
        world.billing_tells(about("project:film", "", "6")).await;
        // One's own use is no secret from oneself; from everybody else it is.
        world.billing_tells(about("every_member", &ben.user.to_string(), "5.5")).await;
        all_mailed(&world, &acme, 7).await;
        let all = [&ada, &ben, &cem];
        assert_eq!(told(&world, &all, "6"), managers, "what all use together for a project is told");
        assert_eq!(told(&world, &all, "5.5"), std::slice::from_ref(&ben.email));
        for (manager, hidden) in [(&ada, 4), (&ben, 3)] {
            let mails = world.mailbox.to(&manager.email).into_iter();
            let mails: Vec<_> = mails.filter(|mail| mail.subject == "80 % of a limit is used in \"Acme\"").collect();
            assert_eq!(mails.len(), 5, "each that was reached is told");
            let says = "80 % of what a limit on";
            let silent: Vec<_> = mails.iter().filter(|mail| mail.text.contains(says)).collect();
            assert_eq!(silent.len(), hidden, "{mails:?}");
            for mail in silent {
                let of_cem = [cem.user.to_string(), key.to_string(), "7.25".to_owned(), "10 credits".to_owned()];
                let tells = of_cem.iter().any(|it| mail.text.contains(it)) || mail.text.contains("The member");
                assert!(!tells, "{}", mail.text);
            }
        }
    }

    async fn an_alert_of_a_window_that_is_over_is_mailed_to_nobody(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let late = alert(&world, &acme, &"", "5");
        world.clock.advance(Span::HOUR).unwrap();
        world.billing_tells(late).await;
        world.billing_tells(alert(&world, &acme, &"", "6")).await;
        until("what is open is told", async || told(&world, &[&ada], "6").len() == 1).await;
        assert_eq!(told(&world, &[&ada], "5"), Vec::<String>::new());
    }
}
