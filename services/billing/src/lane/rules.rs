//! The deployment's rules as the lanes see them: one set at a time, replaced as a whole.

use std::sync::Arc;

use tokio::sync::watch;

use crate::domain::{Rules, Spending};

/// Where the present rules are read. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RulesHandle(watch::Receiver<Arc<Rules>>);

/// By which the rules are replaced: the catalog was loaded anew, or the deployment's policy changed.
#[derive(Debug)]
pub struct RulesSource(watch::Sender<Arc<Rules>>);

impl RulesSource {
    /// A source of rules, beginning with these.
    pub fn new(rules: Rules) -> Self {
        Self(watch::Sender::new(Arc::new(rules)))
    }

    /// Where they are read.
    pub fn handle(&self) -> RulesHandle {
        RulesHandle(self.0.subscribe())
    }

    /// Has the deployment's policy hold; nothing is forgotten where it held before.
    pub fn follow(&self, spending: Spending, personal_accounts: bool) {
        let holds = |rules: &Rules| (rules.spending, rules.personal_accounts) == (spending, personal_accounts);
        if !holds(&self.0.borrow()) {
            self.change(|rules| (rules.spending, rules.personal_accounts) = (spending, personal_accounts));
        }
    }

    /// Replaces the rules by what `change` makes of them. What lanes remember under the old ones counts no more.
    pub fn change(&self, change: impl FnOnce(&mut Rules)) {
        self.0.send_modify(|rules| {
            let mut changed = (**rules).clone();
            change(&mut changed);
            *rules = Arc::new(changed);
        });
    }
}

impl RulesHandle {
    /// The rules that hold now.
    pub fn current(&self) -> Arc<Rules> {
        Arc::clone(&self.0.borrow())
    }
}
