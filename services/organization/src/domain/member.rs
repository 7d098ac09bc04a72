//! Who may change whose place in an organization. That the caller may manage members at all is decided
//! before, by the table of roles.

use bursar_id::{Role, UserId};

use super::Refusal;

/// Whether `actor` may make `target`, who has the role `now`, an Admin or a Member.
pub fn change_role(actor: UserId, target: UserId, now: Option<Role>) -> Result<(), Refusal> {
    if actor == target {
        return Err(Refusal::OwnRole);
    }
    end(now)
}

/// Whether the place of somebody who has the role `now` may end, or change, other than by a transfer.
pub fn end(now: Option<Role>) -> Result<(), Refusal> {
    match now {
        None => Err(Refusal::MemberNotFound),
        Some(Role::Owner) => Err(Refusal::OwnerMustTransfer),
        Some(Role::Admin | Role::Member) => Ok(()),
    }
}

/// Whether the owner `actor` may make `target`, who has the role `now`, the owner.
pub fn transfer(actor: UserId, target: UserId, now: Option<Role>) -> Result<(), Refusal> {
    if actor == target {
        return Err(Refusal::AlreadyOwner);
    }
    now.map(|_| ()).ok_or(Refusal::MemberNotFound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_change_by_the_rules() {
        let [ada, ben] = [1, 2].map(|n| UserId::from_parts(n, [0; 10]));
        let (owner, admin, member) = (Some(Role::Owner), Some(Role::Admin), Some(Role::Member));
        let changing = [
            (ada, owner, Err(Refusal::OwnRole)),
            (ada, admin, Err(Refusal::OwnRole)),
            (ben, owner, Err(Refusal::OwnerMustTransfer)),
            (ben, admin, Ok(())),
            (ben, member, Ok(())),
            (ben, None, Err(Refusal::MemberNotFound)),
        ];
        for (target, now, expected) in changing {
            assert_eq!(change_role(ada, target, now), expected, "{target} {now:?}");
        }
        for (now, expected) in [
            (owner, Err(Refusal::OwnerMustTransfer)),
            (admin, Ok(())),
            (member, Ok(())),
            (None, Err(Refusal::MemberNotFound)),
        ] {
            assert_eq!(end(now), expected, "{now:?}");
        }
        let transferring = [
            (ada, owner, Err(Refusal::AlreadyOwner)),
            (ben, admin, Ok(())),
            (ben, member, Ok(())),
            (ben, None, Err(Refusal::MemberNotFound)),
        ];
        for (target, now, expected) in transferring {
            assert_eq!(transfer(ada, target, now), expected, "{target} {now:?}");
        }
    }
}
