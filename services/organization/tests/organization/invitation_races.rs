//! An invitation that is accepted while something else happens to it: one of the two came first, and everything is as if
//! the other had come after it. Nobody is in twice, no seat is counted twice, and what was taken back lets nobody in.

use bursar_id::{OrganizationId, Role};
use bursar_organization::domain::invitation::State;
use bursar_organization::store::{invitations, memberships};
use bursar_proto::event::v1::event::Payload;
use bursar_proto::organization::v1 as proto;
use bursar_rpc::convert::to_role;
use bursar_testkit::{Client, Message, refused, rounds};
use bursar_time::Span;
use tonic::{Code, Status};

use crate::invoicing::all_mailed;
use crate::races::{Checker, TASKS, race, winners};
use crate::world::{Who, World, accept, get, invite, leave, remove};

/// A token that nobody was ever sent.
const UNKNOWN: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// What came of one call.
type Outcome = Result<(), Status>;

/// What happens to an invitation while it is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rival {
    /// Somebody takes it back.
    Revoking,
    /// Somebody sends it again.
    Resending,
    /// Whoever has it declines it.
    Declining,
    /// Whoever sent it becomes a Member.
    Demoting,
    /// Whoever sent it is removed.
    Removing,
}

impl Rival {
    /// As what the invitation is: as Admin where it is about what its inviter may.
    fn role(self) -> Role {
        if self.is_about_the_inviter() { Role::Admin } else { Role::Member }
    }

    fn is_about_the_inviter(self) -> bool {
        matches!(self, Self::Demoting | Self::Removing)
    }

    /// What whoever accepts is told when this came first.
    fn too_late_to_accept(self) -> (Code, &'static str) {
        match self {
            Self::Revoking => (Code::FailedPrecondition, "INVITATION_REVOKED"),
            Self::Resending => (Code::NotFound, "NOT_FOUND"),
            Self::Declining => (Code::FailedPrecondition, "INVITATION_SETTLED"),
            Self::Demoting | Self::Removing => (Code::FailedPrecondition, "INVITER_NO_LONGER_AUTHORIZED"),
        }
    }

    /// What whoever does this is told where it cannot be done, or not any more.
    fn too_late(self) -> (Code, &'static str) {
        match self {
            Self::Removing => (Code::NotFound, "NOT_FOUND"),
            _ => (Code::FailedPrecondition, "INVITATION_SETTLED"),
        }
    }

    /// How often this succeeds of so many times.
    fn successes(self, joined: bool, times: usize) -> usize {
        match self {
            Self::Revoking | Self::Resending | Self::Declining if joined => 0,
            Self::Removing => times.min(1),
            _ => times,
        }
    }

    /// Where the invitation is in its life when this came first.
    fn leaves(self) -> State {
        match self {
            Self::Revoking => State::Revoked,
            Self::Declining => State::Declined,
            Self::Resending | Self::Demoting | Self::Removing => State::Pending,
        }
    }
}

/// An organization with three seats: for its owner, for the Admin who invited, and for whom that was.
#[derive(Clone)]
struct Scene {
    rival: Rival,
    acme: String,
    ada: Who,
    ben: Who,
    eve: Who,
    invitation: String,
    token: String,
    anybody: Client,
}

impl Scene {
    async fn set(world: &World, rival: Rival, n: u64) -> Self {
        world.advance(Span::SECOND);
        world.billing.set_seats(3);
        // Somebody new each time, with a mailbox and a history of their own.
        let (ada, eve) = (world.who(1), world.who(100 + n));
        let acme = world.create(&ada, "Acme").await.id;
        let ben = world.join(&ada, &acme, 2, Role::Admin).await;
        let invitation = invite(&ben, &acme, &eve.email, rival.role()).await.expect("invited").id;
        let token = world.mailbox.next_token(&eve.email).await;
        Self { rival, acme, ada, ben, eve, invitation, token, anybody: world.anybody.clone() }
    }

    async fn accept(&self) -> Outcome {
        accept(&self.eve, &self.token).await.map(drop)
    }

    /// Takes a turn that comes to nothing. Accepting takes two, so whatever takes one would nearly always come first.
    async fn waits_a_turn(&self) {
        refused(decline(&self.anybody, UNKNOWN).await, Code::NotFound, "NOT_FOUND");
    }

    async fn rival(&self) -> Outcome {
        let (mut invitations, invitation_id) = (self.ada.client.invitations(), self.invitation.clone());
        match self.rival {
            Rival::Revoking => {
                let request = proto::RevokeInvitationRequest { invitation_id, ..Default::default() };
                invitations.revoke_invitation(request).await.map(drop)
            }
            Rival::Resending => {
                let request = proto::ResendInvitationRequest { invitation_id, ..Default::default() };
                invitations.resend_invitation(request).await.map(drop)
            }
            Rival::Declining => decline(&self.anybody, &self.token).await,
            Rival::Demoting => {
                let request = proto::UpdateMemberRoleRequest {
                    organization_id: self.acme.clone(),
                    user_id: self.ben.user.to_string(),
                    role: to_role(Role::Member).into(),
                    ..Default::default()
                };
                self.ada.client.members().update_member_role(request).await.map(drop)
            }
            Rival::Removing => remove(&self.ada, &self.acme, self.ben.user).await,
        }
    }

    fn organization(&self) -> OrganizationId {
        self.acme.parse().expect("an id")
    }

    /// Demands that exactly one of the two came first, and that everything is so.
    async fn check(&self, world: &World, accepting: Vec<Outcome>, rivals: Vec<Outcome>) {
        let (times, tried) = (accepting.len(), rivals.len());
        let (code, reason) = self.rival.too_late_to_accept();
        let accepted = winners(accepting, code, reason).len();
        assert!(accepted == 0 || accepted == times, "whoever is in is in, however often: {accepted} of {times}");
        let joined = accepted > 0;
        let (code, reason) = self.rival.too_late();
        let done = winners(rivals, code, reason).len();
        assert_eq!(done, self.rival.successes(joined, tried), "{:?}, joined: {joined}", self.rival);
        self.check_places(world, joined).await;
        self.check_mails(world, joined, done).await;
    }

    /// Who is in, in what order that came, and how many seats are taken.
    async fn check_places(&self, world: &World, joined: bool) {
        let organization = self.organization();
        let mut tx = world.store.read().await.expect("a snapshot");
        let row = invitations::by_id(&mut tx, self.invitation.parse().expect("an id")).await.expect("read");
        let state = row.expect("an invitation").state_at(world.clock.now()).expect("a state");
        let members = memberships::head_count(&mut tx, organization).await.expect("counted");
        let (pending, _) = invitations::pending(&mut tx, organization, world.clock.now()).await.expect("counted");
        let eve = memberships::member(&mut tx, organization, self.eve.user).await.expect("read");
        drop(tx);
        assert_eq!(state, if joined { State::Accepted } else { self.rival.leaves() });
        let in_it = 1 + u32::from(self.rival != Rival::Removing) + u32::from(joined);
        assert_eq!((members, pending), (in_it, u32::from(state == State::Pending)), "{:?}", self.rival);
        assert_eq!(eve.map(|member| member.role), joined.then_some(self.rival.role()));
        let told = world.told_of(self.eve.user).await;
        assert_eq!(told.len(), usize::from(joined), "joined once: {told:?}");
        if joined && self.rival.is_about_the_inviter() {
            self.check_order(world).await;
        }
        let more = invite(&self.ada, &self.acme, "more@example.com", Role::Member).await;
        if members + pending < 3 {
            more.expect("a seat is free");
        } else {
            let full = refused(more, Code::ResourceExhausted, "SEAT_LIMIT_REACHED");
            assert_eq!(full.metadata.get("used").map(String::as_str), Some("3"), "each is counted once");
        }
    }

    /// An Admin was made by somebody who still was one: the order of events is that of commits.
    async fn check_order(&self, world: &World) {
        let (ben, eve) = (self.ben.user.to_string(), self.eve.user.to_string());
        let of_acme = |payload: Payload| match payload {
            Payload::MembershipChanged(changed) if changed.organization_id == self.acme => Some(changed.user_id),
            _ => None,
        };
        let told: Vec<_> = world.events().await.into_iter().filter_map(of_acme).collect();
        let last = |user: &str| told.iter().rposition(|of| of == user).expect("told of");
        assert!(last(&eve) < last(&ben), "made an Admin by somebody who was none any more: {told:?}");
    }

    /// One mail was sent for each time that it was, and of their tokens only the last opens anything.
    async fn check_mails(&self, world: &World, joined: bool, done: usize) {
        let again = if self.rival == Rival::Resending { done } else { 0 };
        all_mailed(world).await;
        let tokens: Vec<_> = world.mailbox.to(&self.eve.email).iter().map(Message::token).collect();
        assert_eq!(tokens.len(), 1 + again, "{:?}", self.rival);
        let mut known = Vec::new();
        for token in tokens {
            let request = proto::PreviewInvitationRequest { token: token.clone() };
            match self.anybody.invitations().preview_invitation(request).await {
                Ok(_) => known.push(token),
                refusal => {
                    refused(refusal, Code::NotFound, "NOT_FOUND");
                }
            }
        }
        let [known] = known.as_slice() else { panic!("one token is the invitation's: {known:?}") };
        assert_eq!(*known == self.token, again == 0, "{:?}", self.rival);
        if again > 0 {
            assert!(!joined);
            accept(&self.eve, known).await.expect("it was sent again to be accepted");
            let told = world.told_of(self.eve.user).await;
            assert_eq!(told.len(), 1, "joined once: {told:?}");
        }
    }
}

/// What came of it for those who accepted, and for the others.
fn apart(outcomes: Vec<(bool, Outcome)>) -> (Vec<Outcome>, Vec<Outcome>) {
    let (accepting, others): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(|(accepts, _)| *accepts);
    let only = |of: Vec<(bool, Outcome)>| of.into_iter().map(|(_, outcome)| outcome).collect();
    (only(accepting), only(others))
}

async fn decline(anybody: &Client, token: &str) -> Outcome {
    let request = proto::DeclineInvitationRequest { token: token.to_owned() };
    anybody.invitations().decline_invitation(request).await.map(drop)
}

/// The one after the other, the other after the one, and both at once, as often as there are rounds.
async fn in_every_order(world: World, rival: Rival) {
    let checker = Checker::of(&world).await;
    let scene = Scene::set(&world, rival, 0).await;
    let (accepting, rivals) = (vec![scene.accept().await], vec![scene.rival().await]);
    assert!(accepting[0].is_ok(), "{accepting:?}");
    scene.check(&world, accepting, rivals).await;
    let scene = Scene::set(&world, rival, 1).await;
    let (rivals, accepting) = (vec![scene.rival().await], vec![scene.accept().await]);
    assert!(accepting[0].is_err(), "{accepting:?}");
    scene.check(&world, accepting, rivals).await;
    for round in 0..rounds() {
        let scene = Scene::set(&world, rival, 2 + round).await;
        let outcomes = race(TASKS, |n| {
            let scene = scene.clone();
            async move {
                let accepts = n.is_multiple_of(2);
                if accepts {
                    return (accepts, scene.accept().await);
                }
                if round.is_multiple_of(2) {
                    scene.waits_a_turn().await;
                }
                (accepts, scene.rival().await)
            }
        })
        .await;
        let (accepting, rivals) = apart(outcomes);
        scene.check(&world, accepting, rivals).await;
    }
    checker.ends().await;
}

bursar_testkit::engines! {
    async fn who_accepts_while_it_is_taken_back_is_in_or_it_is_taken_back(db: TestDb) {
        Box::pin(in_every_order(World::generous(db).await, Rival::Revoking)).await;
    }

    async fn who_accepts_while_it_is_sent_again_is_in_or_comes_by_the_new_token_alone(db: TestDb) {
        Box::pin(in_every_order(World::generous(db).await, Rival::Resending)).await;
    }

    async fn who_accepts_while_it_is_declined_is_in_or_it_is_declined(db: TestDb) {
        Box::pin(in_every_order(World::generous(db).await, Rival::Declining)).await;
    }

    async fn whoever_was_demoted_first_makes_no_admin(db: TestDb) {
        Box::pin(in_every_order(World::generous(db).await, Rival::Demoting)).await;
    }

    async fn whoever_was_removed_first_makes_no_admin(db: TestDb) {
        Box::pin(in_every_order(World::generous(db).await, Rival::Removing)).await;
    }

    async fn a_seat_is_kept_by_who_accepts_in_time_or_free_for_one_other(db: TestDb) {
        let world = World::generous(db).await;
        let checker = Checker::of(&world).await;
        world.billing.set_seats(2);
        for round in 0..rounds() {
            world.advance(Span::SECOND);
            let (ada, eve) = (world.who(1), world.who(100 + round));
            let acme = world.create(&ada, "Acme").await.id;
            let invitation = invite(&ada, &acme, &eve.email, Role::Member).await.expect("the last seat").id;
            let token = world.mailbox.next_token(&eve.email).await;
            // A second before it expires; everybody brings a token of that moment.
            world.advance(Span::from_secs(3_600 - 1));
            let (ada, eve) = (world.who(1), world.who(100 + round));
            let outcomes = race(TASKS, |n| {
                let (ada, eve, acme, token) = (ada.clone(), eve.clone(), acme.clone(), token.clone());
                let (clock, anybody) = (world.clock.clone(), world.anybody.clone());
                async move {
                    if n == 0 {
                        // After as many turns, so that some accept in time.
                        for _ in 0..round % 4 {
                            refused(decline(&anybody, UNKNOWN).await, Code::NotFound, "NOT_FOUND");
                        }
                        clock.advance(Span::SECOND).expect("time moves on");
                    }
                    let accepts = n.is_multiple_of(2);
                    let outcome = if accepts {
                        accept(&eve, &token).await.map(drop)
                    } else {
                        invite(&ada, &acme, &format!("x{round}-{n}@example.com"), Role::Member).await.map(drop)
                    };
                    (accepts, outcome)
                }
            }).await;
            let (accepting, inviting) = apart(outcomes);
            let joined = !winners(accepting, Code::FailedPrecondition, "INVITATION_EXPIRED").is_empty();
            let invited = winners(inviting, Code::ResourceExhausted, "SEAT_LIMIT_REACHED").len();
            assert!(invited + usize::from(joined) <= 1, "round {round}: one seat for {invited} and {joined}");
            let now = world.clock.now();
            let mut tx = world.store.read().await.expect("a snapshot");
            let organization = acme.parse().expect("an id");
            let row = invitations::by_id(&mut tx, invitation.parse().expect("an id")).await.expect("read");
            let state = row.expect("an invitation").state_at(now).expect("a state");
            let members = memberships::head_count(&mut tx, organization).await.expect("counted");
            let (pending, _) = invitations::pending(&mut tx, organization, now).await.expect("counted");
            drop(tx);
            assert_eq!(state, if joined { State::Accepted } else { State::Expired }, "round {round}");
            assert_eq!(members, 1 + u32::from(joined), "round {round}");
            assert_eq!(pending as usize, invited, "round {round}");
            assert_eq!(world.told_of(eve.user).await.len(), usize::from(joined), "round {round}");
            let more = invite(&ada, &acme, "more@example.com", Role::Member).await;
            if joined || invited > 0 {
                refused(more, Code::ResourceExhausted, "SEAT_LIMIT_REACHED");
            } else {
                more.expect("the seat is free");
            }
        }
        checker.ends().await;
    }

    async fn the_last_seat_of_a_plan_that_shrank_goes_to_one_of_the_invited(db: TestDb) {
        const INVITED: u64 = 8;
        let world = World::generous(db).await;
        let checker = Checker::of(&world).await;
        for round in 0..rounds() {
            world.billing.set_seats(9);
            let ada = world.who(1);
            let acme = world.create(&ada, "Acme").await.id;
            let mut invited = Vec::new();
            for n in 0..INVITED {
                // Invited at different times, and reserved a seat each.
                world.advance(Span::SECOND);
                let who = world.who(10 + n);
                invite(&ada, &acme, &who.email, Role::Member).await.expect("a seat for each");
                let token = world.mailbox.next_token(&who.email).await;
                invited.push((who, token));
            }
            world.billing.set_seats(2);
            world.tells_seats(&acme, 2).await;
            let outcomes = race(TASKS, |n| {
                let n = n % INVITED;
                let (who, token) = invited[usize::try_from(n).expect("few")].clone();
                async move { accept(&who, &token).await.map(|_| n) }
            }).await;
            let mut won = winners(outcomes, Code::ResourceExhausted, "SEAT_LIMIT_REACHED");
            assert_eq!(won.len() as u64, TASKS / INVITED, "round {round}: one of them, each time again: {won:?}");
            won.dedup();
            let [winner] = won.as_slice() else { panic!("round {round}: one seat for {won:?}") };
            let over = get(&ada, &acme).await.expect("found");
            assert!(over.over_limit, "the others' seats are reserved still");
            let (winner, _) = &invited[usize::try_from(*winner).expect("few")];
            assert_eq!(world.told_of(winner.user).await.iter().filter(|it| it.organization_id == acme).count(), 1);
            leave(winner, &acme).await.expect("left");
            let (next, token) = invited.iter().find(|(who, _)| who.user != winner.user).expect("another");
            accept(next, token).await.expect("the seat is free again");
            // What was never accepted takes a seat until it expires.
            world.advance(Span::from_hours(2));
            assert!(!get(&world.who(1), &acme).await.expect("found").over_limit, "two have two seats");
        }
        checker.ends().await;
    }
}
