//! Checkpoints: a history that was rewritten whole, with every right to the database, shows against a file that was kept
//! elsewhere; and a file that nobody should believe is refused.

use std::io::Cursor;

use bursar_billing::checkpoints::{
    CheckpointError, CheckpointKey, Difference, PublicKey, Unusable, check, compare, write,
};
use bursar_db::Engine;
use bursar_id::{OwnerId, Role};
use bursar_proto::event::v1::OrganizationCreated;
use bursar_proto::event::v1::event::Payload;
use bursar_secret::{Sealer, Secret};
use bursar_testkit::{engines, id};
use bursar_time::Span;

use crate::words::{Spending as _, Under as _, audit_of, grant, spend};
use crate::world::World;

/// What stands in the store of one owner's credits.
const TABLES: [&str; 6] = ["accounts", "lots", "ledger_entries", "entry_details", "holds", "usage_hours"];

fn key(world: &World) -> CheckpointKey {
    bursar_billing::checkpoint_key(&world.settings).unwrap()
}

async fn checkpoint(world: &World) -> Vec<u8> {
    let mut file = Vec::new();
    write(&world.store, &key(world), world.now(), &mut file).await.unwrap();
    file
}

/// What `verify --against` tells.
async fn differences(world: &World, file: &[u8]) -> Vec<Difference> {
    check(&mut Cursor::new(file), key(world).public()).unwrap();
    let mut told = Vec::new();
    compare(&world.store, &mut Cursor::new(file), |it| told.push(it)).await.unwrap();
    told
}

fn unusable(file: &[u8], trusted: PublicKey) -> Unusable {
    match check(&mut Cursor::new(file), trusted) {
        Err(CheckpointError::Unusable(unusable)) => unusable,
        other => panic!("{other:?} of {:?}", String::from_utf8_lossy(file)),
    }
}

/// Takes the guard away, as somebody with every right could.
async fn disarm(world: &World) {
    let guard = match world.engine() {
        Engine::Postgres => "DROP TRIGGER ledger_append_only ON ledger_entries",
        Engine::Sqlite => "DROP TRIGGER ledger_no_update; DROP TRIGGER ledger_no_delete",
    };
    world.by_hand(guard).await.unwrap();
}

/// Keeps an owner's rows as they are, to be put back.
async fn keep(world: &World, owner: OwnerId) {
    for table in TABLES {
        let owner = world.literal(owner);
        world
            .by_hand(&format!("CREATE TABLE kept_{table} AS SELECT * FROM {table} WHERE owner = {owner}"))
            .await
            .unwrap();
    }
}

/// Puts them back, and with them the whole account to where it was.
async fn put_back(world: &World, owner: OwnerId) {
    remove(world, owner).await;
    for table in TABLES {
        world.by_hand(&format!("INSERT INTO {table} SELECT * FROM kept_{table}")).await.unwrap();
    }
}

async fn remove(world: &World, owner: OwnerId) {
    for table in TABLES {
        world.by_hand(&format!("DELETE FROM {table} WHERE owner = {}", world.literal(owner))).await.unwrap();
    }
}

engines! {
    async fn a_history_that_was_rewritten_whole_shows_against_a_checkpoint(db: TestDb) {
        let world = World::on(db).await;
        disarm(&world).await;
        let [ana, ben, cai] = [world.person_with(1, "100").await, world.person_with(2, "50").await, world.person_with(3, "7").await];
        keep(&world, ana.owner).await;
        ana.charged(spend(ana.owner, "60").labelled("scene", "7")).await;
        let file = checkpoint(&world).await;
        let [first, later] = [check(&mut Cursor::new(&file), key(&world).public()).unwrap().heads, 3];
        assert_eq!(first, later, "all accounts");

        // Whatever comes later changes nothing about what was.
        ben.charged(spend(ben.owner, "1")).await;
        world.person_with(4, "1").await;
        assert_eq!(differences(&world, &file).await, []);

        // The charge was never made: the account as it was before, wholly in order.
        put_back(&world, ana.owner).await;
        world.audit(ana.owner).await;
        assert_eq!(differences(&world, &file).await, [Difference::Shorter { owner: ana.owner, had: 2, has: 1 }]);

        // Another one was made instead: as many entries, all of them good.
        let elsewhere = world.another_instance().await;
        world.passes(Span::SECOND);
        world.through(&elsewhere, &ana).charged(spend(ana.owner, "1").under("instead")).await;
        assert!(world.operator().verify_ledger(audit_of(ana.owner)).await.unwrap().valid, "the chain is in order");
        assert_eq!(differences(&world, &file).await, [Difference::Rewritten { owner: ana.owner, seq: 2 }]);

        // It never had an account.
        remove(&world, cai.owner).await;
        let told = differences(&world, &file).await;
        assert_eq!(told, [Difference::Rewritten { owner: ana.owner, seq: 2 }, Difference::Missing(cai.owner)]);
        for difference in told {
            let line = difference.to_string();
            assert!(line.contains(&ana.owner.to_string()) || line.contains(&cai.owner.to_string()), "{line}");
        }
    }

    async fn an_account_without_entries_only_has_to_be_there(db: TestDb) {
        let world = World::on(db).await;
        let (_, boss) = world.organization_with(1, "5").await;
        let (organization, user) = (id::<bursar_id::kinds::Organization>(7), id::<bursar_id::kinds::User>(7));
        let created = OrganizationCreated {
            organization_id: organization.to_string(),
            owner_user_id: user.to_string(),
            ..OrganizationCreated::default()
        };
        world.tell(Payload::OrganizationCreated(created)).await;
        let team = OwnerId::Organization(organization);
        world.hears(team, user, Some(Role::Owner), 1).await;
        let empty = checkpoint_of_nothing(&world);
        assert_eq!(differences(&world, &empty).await, []);
        let file = checkpoint(&world).await;
        let text = String::from_utf8(file.clone()).unwrap();
        assert!(text.contains(&format!("{team} 0 ")), "{text}");
        boss.charged(spend(boss.owner, "1")).await;
        world.operator().granted(grant(team, "3")).await;
        world.member(7, team, Role::Owner, 1).charged(spend(team, "1")).await;
        assert_eq!(differences(&world, &file).await, []);
    }

    async fn a_file_that_nobody_should_believe_is_named(db: TestDb) {
        let world = World::on(db).await;
        for n in 1..=3 {
            world.person_with(n, "10").await;
        }
        let (file, trusted) = (checkpoint(&world).await, key(&world).public());
        let text = String::from_utf8(file.clone()).unwrap();
        assert_eq!(check(&mut Cursor::new(&file), trusted).unwrap().made_at, world.now());
        assert_eq!(trusted.to_string().parse::<PublicKey>(), Ok(trusted));

        // Every change to a byte, and every part of it.
        for place in 0..file.len() {
            let mut changed = file.clone();
            changed[place] ^= 1;
            unusable(&changed, trusted);
            unusable(&file[..place], trusted);
        }
        assert_eq!(unusable(b"", trusted), Unusable::Foreign);
        assert_eq!(unusable(b"PK\x03\x04 something else\n", trusted), Unusable::Foreign);
        assert_eq!(unusable(&vec![b'x'; 1 << 20], trusted), Unusable::Foreign);
        assert_eq!(unusable(&[file.as_slice(), b"\n"].concat(), trusted), Unusable::Longer);
        let newer = text.replacen("bursar-checkpoint 1 ", "bursar-checkpoint 2 ", 1);
        assert_eq!(unusable(newer.as_bytes(), trusted), Unusable::NewerFormat(2));
        let cut = text.rsplit_once("end ").unwrap().0;
        assert_eq!(unusable(cut.as_bytes(), trusted), Unusable::Truncated);

        // Another way to write the same is not the same.
        let lines: Vec<&str> = text.lines().collect();
        let upper = text.replacen(lines[1], &lines[1].to_uppercase(), 1);
        assert_eq!(unusable(upper.as_bytes(), trusted), Unusable::Malformed(2));
        let swapped = [lines[0], lines[2], lines[1], lines[3], lines[4], ""].join("\n");
        assert_eq!(unusable(swapped.as_bytes(), trusted), Unusable::Malformed(3));
        let windows = text.replace('\n', "\r\n");
        assert_eq!(unusable(windows.as_bytes(), trusted), Unusable::Malformed(1));
        let fewer = [lines[0], lines[1], lines[2], lines[4], ""].join("\n");
        assert_eq!(unusable(fewer.as_bytes(), trusted), Unusable::Malformed(4), "it says how many there are");

        // Somebody else's, and somebody else's in this one's name.
        let stranger = CheckpointKey::of(&Sealer::from_key(&Secret::new([9; 32])));
        let mut theirs = Vec::new();
        write(&world.store, &stranger, world.now(), &mut theirs).await.unwrap();
        assert_eq!(unusable(&theirs, trusted), Unusable::OtherKey);
        assert!(check(&mut Cursor::new(&theirs), stranger.public()).is_ok());
        let named = String::from_utf8(theirs).unwrap().replace(&stranger.public().to_string(), &trusted.to_string());
        assert_eq!(unusable(named.as_bytes(), trusted), Unusable::Forged);
    }
}

/// A checkpoint of a store that has no account.
fn checkpoint_of_nothing(world: &World) -> Vec<u8> {
    use bursar_billing::domain::checkpoint::Written;
    let key = key(world);
    let public: [u8; 32] = hex::decode(key.public().to_string()).unwrap().try_into().unwrap();
    let (written, first) = Written::begin(world.now(), &public);
    [first, written.end(|message| key.sign(message))].concat().into_bytes()
}
