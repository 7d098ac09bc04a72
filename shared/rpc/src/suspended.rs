//! [`Suspended`]: the users whom operators have suspended, as the stack asks for each call.
//!
//! Here is only the set; who is in it is known by each service's store, and whoever keeps the set up to date reads it there.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use bursar_id::UserId;

/// Who is suspended, in this process. Cheap to clone; all clones are one. Nobody, until somebody is.
#[derive(Clone, Debug, Default)]
pub struct Suspended(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Nearly always nobody is: then no lock is taken.
    anybody: AtomicBool,
    users: RwLock<HashSet<UserId>>,
}

impl Suspended {
    /// Whether this user is.
    pub fn contains(&self, user: UserId) -> bool {
        self.0.anybody.load(Ordering::Acquire)
            && self.0.users.read().unwrap_or_else(PoisonError::into_inner).contains(&user)
    }

    /// These are from now on, and nobody else.
    pub fn replace(&self, users: HashSet<UserId>) {
        let mut known = self.0.users.write().unwrap_or_else(PoisonError::into_inner);
        // A reader who still finds nobody is as if it had come a moment earlier.
        self.0.anybody.store(!users.is_empty(), Ordering::Release);
        *known = users;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_are_suspended_who_were_told_last() {
        let (ada, ben) = (UserId::from_parts(1, [1; 10]), UserId::from_parts(2, [2; 10]));
        let suspended = Suspended::default();
        let same = suspended.clone();
        assert!(!same.contains(ada), "nobody was told of");
        suspended.replace([ada].into());
        assert_eq!((same.contains(ada), same.contains(ben)), (true, false));
        suspended.replace([ben].into());
        assert_eq!((same.contains(ada), same.contains(ben)), (false, true));
        suspended.replace(HashSet::new());
        assert_eq!((same.contains(ada), same.contains(ben)), (false, false));
    }
}
