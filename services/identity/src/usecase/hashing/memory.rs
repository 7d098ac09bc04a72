//! The memory that passwords are hashed in: as many sets of blocks as hashes were ever at work at once, used again and
//! again. An allocation for each hash would be returned to the allocator of another thread each time, and kept there.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use argon2::Block;

use super::argon::BLOCKS;
use crate::Error;

/// Sets of blocks that nobody is using.
#[derive(Default)]
pub(super) struct Memory {
    idle: Mutex<Vec<Vec<Block>>>,
    /// How many sets there are, lent ones too.
    made: AtomicUsize,
}

impl Memory {
    /// Lends a set of blocks to some work. The cores bound how many are lent at once.
    pub(super) fn lend<T>(&self, work: impl FnOnce(&mut Vec<Block>) -> Result<T, Error>) -> Result<T, Error> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut blocks = idle.unwrap_or_else(|| self.make());
        let done = work(&mut blocks);
        // What an unusual hash needed more is not kept.
        blocks.truncate(BLOCKS);
        blocks.shrink_to(BLOCKS);
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(blocks);
        done
    }

    fn make(&self) -> Vec<Block> {
        let made = 1 + self.made.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(made, "made memory to hash passwords in");
        vec![Block::new(); BLOCKS]
    }

    /// How many sets there are, lent ones too.
    #[cfg(test)]
    pub(super) fn made(&self) -> usize {
        self.made.load(Ordering::Relaxed)
    }
}
