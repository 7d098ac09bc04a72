//! How often keys are asked for that nobody knows: what is made up must not turn a service against identity, and whoever makes it
//! up must not use up what a new key needs that signs for somebody else.
//!
//! So each place has a ration of its own, and all of them together have one that is wider. A place is kept until its ration is
//! whole again, so there are never more than all together may ask for in that time.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::Site;

/// One place may ask so often at once…
const OWN: Ration = Ration { most: 5, every: Duration::from_secs(5) };
/// …and all of them together.
const ALL: Ration = Ration { most: 20, every: Duration::from_secs(1) };

/// So many at once, and one more each time.
#[derive(Clone, Copy, Debug)]
struct Ration {
    most: u32,
    every: Duration,
}

/// What is left of a ration.
#[derive(Clone, Copy, Debug)]
struct Left {
    of: Ration,
    rest: u32,
    /// From when on the next one is counted.
    since: Instant,
}

impl Left {
    const fn whole(of: Ration, now: Instant) -> Self {
        Self { of, rest: of.most, since: now }
    }

    /// Adds what has come since; says whether it is whole.
    fn fill(&mut self, now: Instant) -> bool {
        while self.rest < self.of.most && now.saturating_duration_since(self.since) >= self.of.every {
            self.rest += 1;
            self.since += self.of.every;
        }
        let whole = self.rest == self.of.most;
        if whole {
            self.since = now;
        }
        whole
    }

    /// After how long there is something again, where nothing is left.
    fn wait(&self, now: Instant) -> Option<Duration> {
        (self.rest == 0).then(|| (self.since + self.of.every).saturating_duration_since(now))
    }
}

/// Everybody's.
#[derive(Debug)]
pub(super) struct Rations {
    all: Left,
    of: HashMap<Site, Left>,
}

impl Rations {
    pub(super) fn new(now: Instant) -> Self {
        Self { all: Left::whole(ALL, now), of: HashMap::new() }
    }

    /// Takes one fetch for somebody there; or says after how long there is one.
    pub(super) fn take(&mut self, site: Site, now: Instant) -> Result<(), Duration> {
        self.all.fill(now);
        self.of.retain(|_, own| !own.fill(now));
        if let Some(wait) = self.all.wait(now) {
            return Err(wait);
        }
        let own = self.of.entry(site).or_insert_with(|| Left::whole(OWN, now));
        if let Some(wait) = own.wait(now) {
            return Err(wait);
        }
        own.rest -= 1;
        self.all.rest -= 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::Origin;

    fn site(number: u32) -> Site {
        Origin::at(IpAddr::V4(Ipv4Addr::from(number))).site()
    }

    fn taken(rations: &mut Rations, site: Site, now: Instant) -> usize {
        (0..100).filter(|_| rations.take(site, now).is_ok()).count()
    }

    #[tokio::test]
    async fn unknown_key_ids_are_rationed() {
        let start = Instant::now();
        let mut rations = Rations::new(start);
        assert_eq!(taken(&mut rations, site(1), start), 5, "at once");
        assert_eq!(rations.take(site(1), start), Err(Duration::from_secs(5)));
        let later = start + OWN.every * 2;
        assert_eq!(taken(&mut rations, site(1), later), 2, "in ten seconds");
        let much_later = start + OWN.every * 1_000;
        assert_eq!(taken(&mut rations, site(1), much_later), 5, "no more than at once");
    }

    #[tokio::test]
    async fn one_places_unknown_key_ids_leave_another_its_ration() {
        let start = Instant::now();
        let mut rations = Rations::new(start);
        assert_eq!(taken(&mut rations, site(1), start), 5);
        assert_eq!(taken(&mut rations, site(2), start), 5, "its own");
        // Two more have all that there is; one comes back each second, whoever asks for it first.
        assert_eq!((3..50).map(|number| taken(&mut rations, site(number), start)).sum::<usize>(), 10);
        assert_eq!(rations.take(site(99), start), Err(Duration::from_secs(1)));
        assert_eq!(taken(&mut rations, site(99), start + ALL.every), 1);
        assert_eq!(rations.of.len(), 5, "who was refused is not kept");
        let whole = start + OWN.every * 5 + ALL.every;
        assert_eq!(taken(&mut rations, site(7), whole), 5);
        assert_eq!(rations.of.len(), 1, "nor who has a whole ration");
    }
}
