//! Ports for the programs that a test starts.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::atomic::{AtomicU16, Ordering},
};

/// Ports in a block: operations, the three services, room for the operations ports of single services, and the last one,
/// which is listened on to keep other test processes from the block.
const BLOCK: u16 = 8;
/// Below the ports that the kernel hands out by itself (from 32768 on Linux), so that no client's socket is in the way.
const RANGE: std::ops::Range<u16> = 20_000..32_000;

/// A block of free ports on loopback, this process's own until the value is dropped.
#[derive(Debug)]
pub struct Ports {
    base: u16,
    _guard: TcpListener,
}

impl Ports {
    /// Finds a block that nobody listens on and no other test has.
    pub fn free() -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let blocks = RANGE.len() / usize::from(BLOCK);
        // Processes start their search in different places, so that they seldom meet.
        let start = std::process::id() as usize * 31;
        for _ in 0..blocks {
            let block = (start + usize::from(NEXT.fetch_add(1, Ordering::Relaxed))) % blocks;
            let base = RANGE.start + u16::try_from(block).expect("a block in the range") * BLOCK;
            if let Ok(guard) = listen(base + BLOCK - 1)
                && (base..base + BLOCK - 1).all(|port| listen(port).is_ok())
            {
                return Self { base, _guard: guard };
            }
        }
        panic!("no {BLOCK} free ports in a row between {} and {}", RANGE.start, RANGE.end);
    }

    /// What `--port-base` takes.
    pub fn base(&self) -> u16 {
        self.base
    }

    /// The `n`-th port of the block, from 0 to 6.
    pub fn nth(&self, n: u16) -> u16 {
        assert!(n < BLOCK - 1, "the block has fewer than {n} ports");
        self.base + n
    }
}

fn listen(port: u16) -> std::io::Result<TcpListener> {
    TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_never_overlap() {
        let blocks: Vec<Ports> = (0..20).map(|_| Ports::free()).collect();
        let mut bases: Vec<u16> = blocks.iter().map(Ports::base).collect();
        bases.sort_unstable();
        assert!(bases.windows(2).all(|pair| pair[1] - pair[0] >= BLOCK), "{bases:?}");
        assert_eq!(blocks[0].nth(3), blocks[0].base() + 3);
    }
}
