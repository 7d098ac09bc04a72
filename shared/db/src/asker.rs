//! For whom a connection is taken: those who wait for one take turns by it ([`crate::Db`]).

use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};

tokio::task_local! {
    /// For whom a task works. A task for nobody works for the program.
    static ASKER: Asker;
}

/// For whom a connection is taken.
///
/// Each has its turns, whatever the others wait with. Of two whose turn it is, the one that stands first here is first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Asker {
    /// Whoever has the store to itself on PostgreSQL, and on SQLite nothing but turns of its own ([`crate::Db::dedicated`]).
    Dedicated,
    /// The program itself: jobs, what follows events, what looks whether the store is there.
    Program,
    /// A caller, as a number. Two callers may have the same one: then they wait as one, which harms nobody else.
    Caller(u64),
}

impl Asker {
    /// The caller that is known by this.
    pub fn caller(known_by: &impl Hash) -> Self {
        let mut hasher = DefaultHasher::new();
        known_by.hash(&mut hasher);
        Self::Caller(hasher.finish())
    }

    /// For whom this task works. A task that it spawns for the same has to be told so ([`Self::scope`]).
    pub fn current() -> Self {
        ASKER.try_with(|asker| *asker).unwrap_or(Self::Program)
    }

    /// Has work done for this one: the connections that it takes are taken for it.
    pub fn scope<F: Future>(self, work: F) -> impl Future<Output = F::Output> {
        ASKER.scope(self, work)
    }

    /// The same for a step of work that is polled by hand.
    pub fn step<T>(self, work: impl FnOnce() -> T) -> T {
        ASKER.sync_scope(self, work)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_is_for_whom_it_is_said_and_else_for_the_program() {
        let (ada, ben) = (Asker::caller(&"ada"), Asker::caller(&"ben"));
        assert_ne!(ada, ben);
        assert_eq!(ada, Asker::caller(&"ada"));
        assert_eq!(Asker::current(), Asker::Program);
        let within = ada.scope(async { (Asker::current(), ben.step(Asker::current), Asker::current()) }).await;
        assert_eq!(within, (ada, ben, ada));
        let spawned = ada.scope(async { tokio::spawn(async { Asker::current() }).await.unwrap() }).await;
        assert_eq!(spawned, Asker::Program, "a task of its own does not know");
    }
}
