//! What the hasher promises.

use std::sync::mpsc;

use super::*;

fn hasher(most: usize, cores: usize) -> Hasher {
    Hasher::on_cores(Entropy::seeded(1), most, cores).unwrap()
}

fn from(n: u8) -> Origin {
    Origin::at([192, 0, 2, n].into())
}

/// One of the places of a network that one holder may have.
fn inside(n: u16) -> Origin {
    Origin::at([0x2001, 0xdb8, 7, n, 0, 0, 0, 1].into())
}

/// A core, once there is one, for as long as it is held.
async fn core(hasher: &Hasher) -> cores::Turn {
    Cores::turn(&hasher.0.cores, Purpose::SignIn, Origin::Local.site()).await
}

/// As many places as there are for these.
fn all_of(hasher: &Hasher, purpose: Purpose, origins: impl IntoIterator<Item = Origin>) -> Vec<Place> {
    let of_one = |origin| std::iter::from_fn(move || hasher.join(origin, purpose).ok());
    origins.into_iter().flat_map(of_one).collect()
}

async fn hash(hasher: &Hasher, password: &str) -> String {
    let place = hasher.join(Origin::Local, Purpose::SignUp).unwrap();
    hasher.hash(place, Secret::from(password)).await.unwrap()
}

async fn verify(hasher: &Hasher, password: &str, stored: Option<String>) -> Verdict {
    let place = hasher.join(Origin::Local, Purpose::SignIn).unwrap();
    hasher.verify(place, Secret::from(password), stored).await.unwrap()
}

#[tokio::test]
async fn the_right_password_and_no_other_passes() {
    let hasher = hasher(8, 2);
    let stored = hash(&hasher, "correct horse").await;
    assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
    let right = verify(&hasher, "correct horse", Some(stored.clone())).await;
    assert!(right.matches && right.stronger.is_none(), "it is as strong as it can be");
    assert!(!verify(&hasher, "correct horsf", Some(stored.clone())).await.matches);
    assert!(!verify(&hasher, "anything", None).await.matches, "nobody has no password");
    assert_ne!(stored, hash(&hasher, "correct horse").await, "salts differ");
}

#[tokio::test]
async fn what_other_programs_hashed_is_understood() {
    use argon2::password_hash::PasswordHasher as _;
    let stored = argon2::Argon2::default().hash_password_with_salt(b"correct horse", &[7; 16]).unwrap().to_string();
    assert!(verify(&hasher(8, 1), "correct horse", Some(stored)).await.matches);
}

#[tokio::test]
async fn a_weak_hash_is_hashed_again_for_who_knows_the_password() {
    let hasher = hasher(8, 1);
    let weak = argon::weak(b"correct horse", &[7; 16]);
    let wrong = verify(&hasher, "correct horsf", Some(weak.clone())).await;
    assert!(!wrong.matches && wrong.stronger.is_none());
    let right = verify(&hasher, "correct horse", Some(weak)).await;
    let stronger = right.stronger.expect("a stronger one");
    assert!(right.matches && stronger.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stronger}");
    assert!(verify(&hasher, "correct horse", Some(stronger)).await.matches);
}

/// Whatever is stored as a hash is compared or refused, in the memory and the time that a place is worth.
#[test]
fn fuzz_hashes() {
    let (password, blocks) = (b"correct horse", std::cell::RefCell::new(Vec::<argon2::Block>::new()));
    let weak = argon::weak(password, &[7; 16]);
    let others = ["argon2id$v=19", "argon2d$v=19"].map(|form| weak.replace("argon2i$v=16", form));
    let verify = |stored: &str| argon::verify(password, stored, &mut blocks.borrow_mut());
    assert!(verify(&weak).is_ok_and(|(matches, weak)| matches && weak));
    assert!(others.iter().all(|other| verify(other).is_ok_and(|(matches, _)| !matches)), "of another sort");
    let asking = |params: &str| verify(&weak.replace("m=8,t=1,p=1", params));
    for greedy in
        ["m=8,t=4294967295,p=1", "m=4294967295,t=1,p=1", "m=77824,t=5,p=1", "m=77824,t=16,p=1", "m=8,t=38913,p=1"]
    {
        assert!(asking(greedy).is_err(), "{greedy}");
    }
    for modest in ["m=64,t=3,p=1", "m=8,t=17,p=1"] {
        assert!(asking(modest).is_ok_and(|(matches, _)| !matches), "{modest}");
    }
    bursar_fuzz::fuzz("password hashes", &[weak.as_str(), others[0].as_str(), others[1].as_str()], |bytes| {
        let _ = verify(&String::from_utf8_lossy(bytes));
        let most = usize::try_from(argon::MOST_MEMORY_KIB).expect("a number of blocks");
        assert!(blocks.borrow().len() <= most, "more memory than any may take");
    });
}

#[tokio::test]
async fn who_hangs_up_keeps_the_place_until_the_work_is_done() {
    let hasher = hasher(3, 1);
    let (begun, has_begun) = tokio::sync::oneshot::channel();
    let (finish, finished) = mpsc::channel::<()>();
    let place = hasher.join(from(1), Purpose::SignIn).unwrap();
    let working = hasher.clone();
    let waiter = tokio::spawn(async move {
        let work = move |_: &mut Vec<Block>| {
            begun.send(()).ok();
            finished.recv().map_err(Error::internal)
        };
        working.work(place, work).await
    });
    has_begun.await.unwrap();
    waiter.abort();
    assert!(waiter.await.unwrap_err().is_cancelled());
    assert_eq!((hasher.0.places.count(), hasher.0.cores.free()), (1, 0), "it is still at work");
    assert!(matches!(hasher.join(from(1), Purpose::SignIn), Err(Error::Overloaded)), "and takes its place in line");
    finish.send(()).unwrap();
    let _core = core(&hasher).await;
    // The core comes last of what the work gives back.
    assert!(hasher.0.places.is_idle());
}

#[tokio::test]
async fn who_hangs_up_while_waiting_gives_the_place_back() {
    let hasher = hasher(8, 1);
    let core = core(&hasher).await;
    let waiting = hasher.hash(hasher.join(from(1), Purpose::SignUp).unwrap(), Secret::from("x"));
    assert!(tokio::time::timeout(std::time::Duration::ZERO, waiting).await.is_err());
    assert!(hasher.0.places.is_idle());
    drop(core);
    assert!(!verify(&hasher, "x", None).await.matches, "nothing is left behind");
}

#[tokio::test]
async fn one_origin_and_all_sign_ups_leave_places_to_others() {
    // Two of them are kept.
    let hasher = hasher(16, 1);
    let hers = all_of(&hasher, Purpose::SignUp, [from(1)]);
    assert_eq!(hers.len(), 4, "half of those for sign-ups");
    let sign_ups = all_of(&hasher, Purpose::SignUp, (2..=200).map(from));
    assert_eq!(hers.len() + sign_ups.len(), 8, "a half for sign-ups, wherever they come from");
    let her_sign_ins = all_of(&hasher, Purpose::SignIn, [from(1)]);
    assert_eq!(her_sign_ins.len(), 3, "and half of what is left for her sign-ins");
    assert!(hasher.join(from(1), Purpose::SignIn).is_err());
    for n in 2..=3 {
        assert!(!all_of(&hasher, Purpose::SignIn, [from(n)]).is_empty(), "somebody else has room");
    }
    drop((hers, sign_ups, her_sign_ins));
    assert!(hasher.0.places.is_idle());
}

#[tokio::test]
async fn the_places_of_one_network_together_leave_places_to_others() {
    let hasher = hasher(512, 1);
    for purpose in [Purpose::SignIn, Purpose::SignUp, Purpose::Known] {
        let alone = all_of(&hasher, purpose, [from(1)]).len();
        let first = all_of(&hasher, purpose, [inside(0)]);
        assert!(!first.is_empty() && first.len() < alone, "{purpose:?}: one of its places leaves the others some");
        let second = all_of(&hasher, purpose, [inside(1)]);
        assert!(!second.is_empty(), "{purpose:?}: and so they have");
        let rest = all_of(&hasher, purpose, (2..256).map(inside));
        assert_eq!(first.len() + second.len() + rest.len(), alone, "{purpose:?}: together as many as one address");
        assert!(!all_of(&hasher, purpose, [from(1)]).is_empty(), "{purpose:?}: and others have room");
        drop((first, second, rest));
        assert!(hasher.0.places.is_idle());
    }
}

/// Hundreds of strangers have everything that strangers may have, but not what is kept.
#[tokio::test]
async fn strangers_from_many_sites_leave_places_to_who_was_there_before() {
    let hasher = hasher(512, 1);
    let strangers = all_of(&hasher, Purpose::SignIn, (0..=255).map(from));
    let sign_ups = all_of(&hasher, Purpose::SignUp, (0..=255).map(from));
    assert!(strangers.len() + sign_ups.len() > 440);
    assert!(hasher.join(from(1), Purpose::SignIn).is_err());
    let before = all_of(&hasher, Purpose::Known, [from(1)]);
    assert_eq!(before.len(), 32, "half of what is kept");
    assert!(!all_of(&hasher, Purpose::Known, [inside(1)]).is_empty(), "and others have room");
    drop((strangers, sign_ups, before));
    assert!(hasher.0.places.is_idle());
}

#[tokio::test]
async fn who_turns_out_to_have_been_there_before_has_a_turn_before_strangers() {
    let hasher = hasher(512, 1);
    let core = core(&hasher).await;
    let (done, mut order) = tokio::sync::mpsc::unbounded_channel();
    let queue = |place: Place, name: &'static str| {
        let (hasher, done) = (hasher.clone(), done.clone());
        let work = move |_: &mut Vec<Block>| done.send(name).map_err(Error::internal);
        tokio::spawn(async move { hasher.work(place, work).await })
    };
    let mut all = Vec::new();
    for n in 1..=100 {
        all.push(queue(hasher.join(from(n), Purpose::SignIn).unwrap(), "a stranger"));
    }
    all.push(queue(hasher.join(from(200), Purpose::SignIn).unwrap().known(), "who was there before"));
    // Each of them has come as far as it can.
    tokio::task::yield_now().await;
    drop(core);
    for waiter in all {
        waiter.await.unwrap().unwrap();
    }
    let mut seen = Vec::new();
    while let Ok(name) = order.try_recv() {
        seen.push(name);
    }
    assert_eq!(seen.len(), 101);
    assert!(seen[..2].contains(&"who was there before"), "{:?}", &seen[..5]);
    assert!(hasher.0.places.is_idle());
}

#[tokio::test]
async fn a_newcomer_waits_for_a_few_and_not_for_a_flood() {
    let hasher = hasher(64, 1);
    let core = core(&hasher).await;
    let (done, mut order) = tokio::sync::mpsc::unbounded_channel();
    let queue = |n: u8| {
        let (hasher, done, place) = (hasher.clone(), done.clone(), hasher.join(from(n), Purpose::SignIn).unwrap());
        let work = move |_: &mut Vec<Block>| done.send(n).map_err(Error::internal);
        tokio::spawn(async move { hasher.work(place, work).await })
    };
    let flood: Vec<_> = (0..12).map(|_| queue(1)).collect();
    // Each of them has come as far as it can.
    tokio::task::yield_now().await;
    let newcomer = queue(2);
    tokio::task::yield_now().await;
    drop(core);
    newcomer.await.unwrap().unwrap();
    for waiter in flood {
        waiter.await.unwrap().unwrap();
    }
    let mut seen = Vec::new();
    while let Ok(n) = order.try_recv() {
        seen.push(n);
    }
    assert_eq!(seen.iter().position(|n| *n == 2), Some(1), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hundred_at_once_hash_in_the_memory_of_the_cores() {
    let hasher = hasher(512, 3);
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..100 {
        let (hasher, place) = (hasher.clone(), hasher.join(from(n % 8), Purpose::SignIn).unwrap());
        tasks.spawn(async move { hasher.verify(place, Secret::from("anything"), None).await.unwrap().matches });
    }
    assert!(tasks.join_all().await.iter().all(|matches| !matches));
    assert!(hasher.0.memory.made() <= 3, "{} sets of blocks for three cores", hasher.0.memory.made());
}
