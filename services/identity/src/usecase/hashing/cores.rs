//! The cores that passwords are hashed on, and whose turn at them is next.
//!
//! Those who wait take turns by their site ([`bursar_db::Turns`]): whoever comes waits for one hash of each other site, however
//! many places that has and however much it waits with. What is hashed for each purpose waits apart, and the purposes take turns
//! with one another: so strangers, from however many sites they come, keep nobody waiting who was there before.
//!
//! Sign-ups have half of the cores at most, so that whoever has an account gets in.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bursar_db::Turns;
use bursar_rpc::Site;
use tokio::sync::oneshot;

use super::places::Purpose;

/// Somebody who waits for a core.
struct Waiter {
    number: u64,
    told: oneshot::Sender<()>,
}

/// Nobody waits while there is a free core for what they wait with.
struct State {
    free: usize,
    free_for_sign_up: usize,
    known: Turns<Site, Waiter>,
    sign_ins: Turns<Site, Waiter>,
    sign_ups: Turns<Site, Waiter>,
    /// Whatever had a turn stands behind the others.
    order: [Purpose; 3],
    /// How many ever waited.
    numbers: u64,
}

impl State {
    fn waiting(&mut self, purpose: Purpose) -> &mut Turns<Site, Waiter> {
        match purpose {
            Purpose::Known => &mut self.known,
            Purpose::SignIn => &mut self.sign_ins,
            Purpose::SignUp => &mut self.sign_ups,
        }
    }

    /// Gives a free core to whoever is next, if there is one and somebody for it.
    fn give_turn(&mut self) -> Option<()> {
        let free = self.free.checked_sub(1)?;
        for (place, purpose) in self.order.into_iter().enumerate() {
            let for_sign_up = self.free_for_sign_up.checked_sub(usize::from(purpose == Purpose::SignUp));
            let Some(for_sign_up) = for_sign_up else { continue };
            let waiting = self.waiting(purpose);
            let Some(site) = waiting.next(|_| true) else { continue };
            let waiter = waiting.pop(site, |_| 1)?;
            (self.free, self.free_for_sign_up) = (free, for_sign_up);
            self.order.get_mut(place..)?.rotate_left(1);
            // Whoever has just given up gives it back when the turn is dropped.
            let _ = waiter.told.send(());
            return Some(());
        }
        None
    }
}

/// All cores.
pub(super) struct Cores(Mutex<State>);

/// A core that somebody has, or waits for; given back when it is dropped.
pub(super) struct Turn {
    cores: Arc<Cores>,
    purpose: Purpose,
    site: Site,
    number: u64,
}

impl Cores {
    /// So many.
    pub(super) fn new(count: usize) -> Self {
        Self(Mutex::new(State {
            free: count,
            free_for_sign_up: (count / 2).max(1),
            known: Turns::default(),
            sign_ins: Turns::default(),
            sign_ups: Turns::default(),
            order: [Purpose::Known, Purpose::SignIn, Purpose::SignUp],
            numbers: 0,
        }))
    }

    /// One of them, once it is this one's turn. Whoever stops waiting before has none.
    pub(super) async fn turn(cores: &Arc<Self>, purpose: Purpose, site: Site) -> Turn {
        let (turn, told) = Self::enter(cores, purpose, site);
        // Whoever would tell is there as long as the turn is.
        let _ = told.await;
        turn
    }

    fn enter(cores: &Arc<Self>, purpose: Purpose, site: Site) -> (Turn, oneshot::Receiver<()>) {
        let (told, is_told) = oneshot::channel();
        let mut state = cores.state();
        state.numbers += 1;
        let number = state.numbers;
        state.waiting(purpose).push(site, Waiter { number, told });
        state.give_turn();
        drop(state);
        (Turn { cores: Arc::clone(cores), purpose, site, number }, is_told)
    }

    /// Counting cannot be left half-way.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many nobody has.
    #[cfg(test)]
    pub(super) fn free(&self) -> usize {
        self.state().free
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.cores.state();
        let number = self.number;
        let waits = state.waiting(self.purpose).take_out(self.site, |waiter| waiter.number.cmp(&number));
        if waits.is_none() {
            state.free += 1;
            state.free_for_sign_up += usize::from(self.purpose == Purpose::SignUp);
            state.give_turn();
        }
    }
}

#[cfg(test)]
mod tests {
    use bursar_rpc::Origin;

    use super::*;

    type Waiting = Vec<(Turn, oneshot::Receiver<()>)>;

    fn site(n: u8) -> Site {
        Origin::at([192, 0, 2, n].into()).site()
    }

    /// Who has the core, in which order, where each gives it back before the next has it.
    fn served(mut waiting: Waiting) -> Vec<(Purpose, Site)> {
        let mut order = Vec::new();
        while let Some(next) = waiting.iter_mut().position(|(_, told)| told.try_recv().is_ok()) {
            let (turn, _) = waiting.remove(next);
            order.push((turn.purpose, turn.site));
        }
        order
    }

    fn enter(cores: &Arc<Cores>, all: impl IntoIterator<Item = (Purpose, Site)>) -> Waiting {
        all.into_iter().map(|(purpose, site)| Cores::enter(cores, purpose, site)).collect()
    }

    #[test]
    fn one_sites_crowd_leaves_another_waiting_for_one_hash() {
        let cores = Arc::new(Cores::new(1));
        let mut all = enter(&cores, std::iter::repeat_n((Purpose::SignIn, site(1)), 300));
        all.extend(enter(&cores, [(Purpose::SignIn, site(2)), (Purpose::SignIn, site(3))]));
        let order = served(all);
        assert_eq!(order.len(), 302, "everybody has a turn");
        let before = |n| order.iter().position(|(_, of)| *of == site(n)).expect("a turn");
        assert!(before(2) <= 3 && before(3) <= 3, "{:?}", &order[..6]);
        assert_eq!(cores.free(), 1);
    }

    #[test]
    fn strangers_from_however_many_sites_leave_who_was_there_before_waiting_for_a_few_hashes() {
        let cores = Arc::new(Cores::new(1));
        let strangers = |purpose| (1..=200).map(move |n| (purpose, site(n)));
        let mut all = enter(&cores, strangers(Purpose::SignIn));
        all.extend(enter(&cores, strangers(Purpose::SignUp)));
        all.extend(enter(&cores, std::iter::repeat_n((Purpose::Known, site(255)), 4)));
        let order = served(all);
        assert_eq!(order.len(), 404, "everybody has a turn");
        assert_eq!(
            order[..12].iter().filter(|(purpose, _)| *purpose == Purpose::Known).count(),
            4,
            "{:?}",
            &order[..12]
        );
    }

    #[test]
    fn sign_ups_have_half_of_the_cores_and_whoever_gives_up_has_none() {
        let cores = Arc::new(Cores::new(4));
        let mut sign_ups = enter(&cores, (1..=6).map(|n| (Purpose::SignUp, site(n))));
        let begun = |waiting: &mut Waiting| waiting.iter_mut().filter_map(|(_, told)| told.try_recv().ok()).count();
        assert_eq!((begun(&mut sign_ups), cores.free()), (2, 2), "two are left to sign-ins");
        let mut sign_ins = enter(&cores, (1..=2).map(|n| (Purpose::SignIn, site(n))));
        assert_eq!((begun(&mut sign_ins), cores.free()), (2, 0));
        // Two that wait and one that has a core: the next has that.
        sign_ups.truncate(4);
        drop(sign_ups.remove(0));
        assert_eq!((begun(&mut sign_ups), cores.free()), (1, 0));
        drop((sign_ups, sign_ins));
        assert_eq!(cores.free(), 4);
        assert_eq!(cores.state().free_for_sign_up, 2);
    }
}
