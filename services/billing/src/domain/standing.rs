//! Sets of roles: who may do something, as the policies have it. What somebody's role is, when an event and a token may
//! disagree, is decided by `bursar_members`.

use bursar_id::Role;

/// A set of roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roles([Option<Role>; Role::ALL.len()]);

impl Roles {
    /// Those that pass a test.
    pub fn which(test: impl Fn(Role) -> bool) -> Self {
        Self(Role::ALL.map(|role| test(role).then_some(role)))
    }

    /// Whether a role is among them.
    pub fn contains(self, role: Role) -> bool {
        self.0.contains(&Some(role))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_passed_the_test() {
        let managers = Roles::which(|role| role >= Role::Admin);
        assert_eq!(Role::ALL.map(|role| managers.contains(role)), [true, true, false]);
    }
}
