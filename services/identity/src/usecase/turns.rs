//! One at a time: of those who ask for the same thing, each waits until the one before has been answered.
//!
//! Attempts are taken before a password is looked at and given back when it was right. Of thirty right ones at once most
//! would find the bucket full of the others' attempts; one after the other, none does. Each process keeps its own turns,
//! so as many are under way at once as there are replicas.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedMutexGuard;

/// Whose turn it is, by what is asked for. There are as many as callers wait; those are bounded by their places.
#[derive(Debug, Default)]
pub struct Turns(Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>);

/// A turn, or the wait for it; over when dropped.
pub struct Turn {
    turns: Arc<Turns>,
    key: String,
    held: Option<OwnedMutexGuard<()>>,
}

impl Turns {
    /// Waits for a turn.
    pub async fn wait(turns: &Arc<Self>, key: String) -> Turn {
        let gate = Arc::clone(turns.gates().entry(key.clone()).or_default());
        let mut turn = Turn { turns: Arc::clone(turns), key, held: None };
        turn.held = Some(gate.lock_owned().await);
        turn
    }

    fn gates(&self) -> MutexGuard<'_, HashMap<String, Arc<tokio::sync::Mutex<()>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut gates = self.turns.gates();
        drop(self.held.take());
        // Nobody but the table has it: nobody waits.
        if gates.get(&self.key).is_some_and(|gate| Arc::strong_count(gate) == 1) {
            gates.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_is_served_at_a_time_and_nothing_is_left_behind() {
        let turns = Arc::new(Turns::default());
        let first = Turns::wait(&turns, "a".to_owned()).await;
        let other = Turns::wait(&turns, "b".to_owned()).await;
        let waiting = tokio::spawn({
            let turns = Arc::clone(&turns);
            async move { Turns::wait(&turns, "a".to_owned()).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        let gives_up = tokio::time::timeout(std::time::Duration::ZERO, Turns::wait(&turns, "a".to_owned())).await;
        assert!(gives_up.is_err());
        drop(first);
        drop(waiting.await.unwrap());
        drop(other);
        assert!(turns.gates().is_empty());
    }
}
