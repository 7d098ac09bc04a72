//! For whom a connection is taken: those who wait for one take turns by it ([`crate::Db`]).

use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};

tokio::task_local! {
    /// For whom a task works. A task for nobody works for the program.
    static ASKER: Asker;
}

/// Among how many askers what is done for very many owners at once is spread: as many as leave others beside it about as much as
/// where all wait in one queue, and never more.
const SPREAD: u64 = 16;

/// For whom a connection is taken.
///
/// Each has its turns, whatever the others wait with. The callers' come behind those of all others, who work for everybody. Of two
/// whose turn it is, the one that stands first here is first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Asker {
    /// Whoever has the store to itself on PostgreSQL, and on SQLite nothing but turns of its own ([`crate::Db::dedicated`]).
    Dedicated,
    /// A part of the program, by its name: each kind of job, what follows a service's events, what looks whether the store is
    /// there. One that is spread has many askers, by number ([`Self::spread`]).
    Program(&'static str, u8),
    /// A service for itself, as a number. It asks for everybody.
    Service(u64),
    /// A caller, as a number. Two callers may have the same one: then they wait as one, which harms nobody else.
    Caller(u64),
}

impl Asker {
    /// Whatever nobody has given a name to.
    pub const PROGRAM: Self = Self::program("program");

    /// The caller that is known by this.
    pub fn caller(known_by: &impl Hash) -> Self {
        Self::Caller(number(known_by))
    }

    /// The service that is known by this, where it asks for itself.
    pub fn service(known_by: &impl Hash) -> Self {
        Self::Service(number(known_by))
    }

    /// A part of the program.
    pub const fn program(name: &'static str) -> Self {
        Self::Program(name, 0)
    }

    /// A part of the program that does something for each of many owners who all wait for it: one of its askers, of which each
    /// owner has always the same one.
    pub fn spread(name: &'static str, owner: &impl Hash) -> Self {
        Self::Program(name, u8::try_from(number(owner) % SPREAD).unwrap_or_default())
    }

    /// For whom this task works. A task that it spawns for the same has to be told so ([`Self::scope`]).
    pub fn current() -> Self {
        ASKER.try_with(|asker| *asker).unwrap_or(Self::PROGRAM)
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

fn number(known_by: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    known_by.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_for_many_owners_has_a_few_askers_and_each_owner_one() {
        let all: std::collections::BTreeSet<Asker> = (0..1_000_u32).map(|owner| Asker::spread("it", &owner)).collect();
        assert_eq!(all.len() as u64, SPREAD);
        assert_eq!(Asker::spread("it", &7_u32), Asker::spread("it", &7_u32));
        assert_ne!(Asker::spread("it", &7_u32), Asker::spread("another", &7_u32));
    }

    #[tokio::test]
    async fn work_is_for_whom_it_is_said_and_else_for_the_program() {
        let (ada, ben) = (Asker::caller(&"ada"), Asker::caller(&"ben"));
        assert_ne!(ada, ben);
        assert_eq!(ada, Asker::caller(&"ada"));
        assert_eq!(Asker::current(), Asker::PROGRAM);
        let within = ada.scope(async { (Asker::current(), ben.step(Asker::current), Asker::current()) }).await;
        assert_eq!(within, (ada, ben, ada));
        let spawned = ada.scope(async { tokio::spawn(async { Asker::current() }).await.unwrap() }).await;
        assert_eq!(spawned, Asker::PROGRAM, "a task of its own does not know");
    }
}
