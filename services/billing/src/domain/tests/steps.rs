//! Random programs: steps whose references are raw numbers, resolved against what exists when they run.

use proptest::prelude::*;

use super::words::{Price, Who};

/// One random step.
#[derive(Debug, Clone)]
pub(super) struct Step {
    /// Seconds since the step before.
    pub(super) wait: i64,
    /// Whether everything so far is written before it, and whether the state is then loaded anew.
    pub(super) write: bool,
    pub(super) reload: bool,
    pub(super) key: Option<u8>,
    pub(super) who: Who,
    pub(super) what: What,
}

/// The work of a step.
#[derive(Debug, Clone)]
pub(super) struct For {
    pub(super) member: u64,
    pub(super) project: Option<u8>,
    pub(super) model: Option<u8>,
    pub(super) label: bool,
}

/// A lot to grant; its times from now on.
#[derive(Debug, Clone)]
pub(super) struct Lot {
    pub(super) amount: u64,
    pub(super) priority: i32,
    pub(super) free: bool,
    pub(super) models: Vec<u8>,
    pub(super) projects: Vec<u8>,
    pub(super) effective: Option<i64>,
    pub(super) lasts: Option<i64>,
    pub(super) note: bool,
}

#[derive(Debug, Clone)]
pub(super) enum What {
    Charge {
        price: Price,
        work: For,
    },
    Hold {
        amount: u64,
        ttl: i64,
        work: For,
    },
    Capture {
        hold: usize,
        price: Option<Price>,
        excess: bool,
    },
    Release {
        hold: usize,
    },
    Refund {
        charge: usize,
        amount: Option<u64>,
    },
    Grant(Lot),
    Void {
        lot: usize,
    },
    Erase {
        member: Option<u64>,
    },
    Sweep,
    Look {
        project: Option<u8>,
        model: Option<u8>,
    },
    /// Repeats an earlier question under a name.
    Retry {
        nth: usize,
    },
    /// A user joins or leaves.
    Move {
        user: u64,
    },
    /// Billing is told of it.
    Tell {
        user: u64,
    },
    /// The user gets a new token.
    Refresh {
        user: u64,
    },
    /// Whether users' own tokens may spend.
    Policy {
        services_only: bool,
    },
}

fn price() -> impl Strategy<Value = Price> {
    let meter = (prop::option::weighted(0.8, 0..3_u8), 1..8_u64);
    let usual = prop_oneof![
        Just(vec![(Some(0), 3)]),
        Just(vec![(None, 3)]),
        (1..6_u64, 1..6_u64).prop_map(|(one, other)| vec![(Some(0), one), (Some(1), other)]),
        prop::collection::vec(meter, 0..3),
    ];
    prop_oneof![2 => (0..12_u64).prop_map(Price::Amount), 1 => usual.prop_map(Price::Metered)]
}

fn work() -> impl Strategy<Value = For> {
    let (project, model) = (prop::option::of(0..2_u8), prop::option::weighted(0.7, 0..3_u8));
    (1..3_u64, project, model, prop::bool::weighted(0.2)).prop_map(|(member, project, model, label)| For {
        member,
        project,
        model,
        label,
    })
}

fn grant() -> impl Strategy<Value = Lot> {
    let names = || prop_oneof![4 => Just(vec![]), 1 => Just(vec![0]), 1 => Just(vec![1]), 1 => Just(vec![0, 1])];
    let times = (prop::option::of(-10..10_i64), prop::option::weighted(0.7, -3..30_i64));
    (0..20_u64, 0..3_i32, any::<bool>(), names(), names(), times, prop::bool::weighted(0.3)).prop_map(
        |(amount, priority, free, models, projects, (effective, lasts), note)| Lot {
            amount,
            priority,
            free,
            models,
            projects,
            effective,
            lasts,
            note,
        },
    )
}

fn what() -> impl Strategy<Value = What> {
    let user = || 1..3_u64;
    prop_oneof![
        24 => grant().prop_map(What::Grant),
        48 => (price(), work()).prop_map(|(price, work)| What::Charge { price, work }),
        36 => (0..12_u64, 0..15_i64, work()).prop_map(|(amount, ttl, work)| What::Hold { amount, ttl, work }),
        30 => (0..9_usize, prop::option::weighted(0.8, price()), any::<bool>())
            .prop_map(|(hold, price, excess)| What::Capture { hold, price, excess }),
        18 => (0..9_usize).prop_map(|hold| What::Release { hold }),
        30 => (0..9_usize, prop::option::of(0..9_u64))
            .prop_map(|(charge, amount)| What::Refund { charge, amount }),
        12 => (0..9_usize).prop_map(|lot| What::Void { lot }),
        6 => prop::option::of(user()).prop_map(|member| What::Erase { member }),
        6 => Just(What::Sweep),
        12 => (prop::option::of(0..2_u8), prop::option::of(0..2_u8))
            .prop_map(|(project, model)| What::Look { project, model }),
        30 => (0..9_usize).prop_map(|nth| What::Retry { nth }),
        4 => user().prop_map(|user| What::Move { user }),
        5 => user().prop_map(|user| What::Tell { user }),
        5 => user().prop_map(|user| What::Refresh { user }),
        3 => prop::bool::weighted(0.3).prop_map(|services_only| What::Policy { services_only }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let wait = prop_oneof![3 => Just(0), 3 => 0..4_i64, 1 => 0..20_i64];
    let key = prop::option::weighted(0.4, 0..12_u8);
    let others = prop::sample::select(Who::ALL.as_slice());
    let who = prop_oneof![2 => Just(Who::Service(1)), 3 => others];
    (wait, any::<[bool; 2]>(), key, who, what()).prop_map(|(wait, [write, reload], key, who, what)| Step {
        wait,
        write,
        reload,
        key,
        who,
        what,
    })
}

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 1..60)
}
