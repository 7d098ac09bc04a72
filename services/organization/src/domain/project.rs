//! Who may do what to a project beyond using the workspace.

use bursar_id::{Role, UserId};

use super::Refusal;

/// Whether somebody may delete a project that `responsible` answers for. Without a role it is the personal
/// context, where everything is the user's own.
pub fn delete(actor: UserId, role: Option<Role>, responsible: UserId) -> Result<(), Refusal> {
    match role {
        Some(Role::Member) if actor != responsible => Err(Refusal::RoleNotAllowed),
        None | Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_delete_what_they_answer_for_and_managers_everything() {
        let [ada, ben] = [1, 2].map(|n| UserId::from_parts(n, [0; 10]));
        for (role, responsible, may) in [
            (None, ada, true),
            (Some(Role::Owner), ben, true),
            (Some(Role::Admin), ben, true),
            (Some(Role::Member), ben, false),
            (Some(Role::Member), ada, true),
        ] {
            assert_eq!(delete(ada, role, responsible).is_ok(), may, "{role:?} {responsible}");
        }
    }
}
