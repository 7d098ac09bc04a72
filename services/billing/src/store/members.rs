//! Who belongs to which organization: what organization told last, unless identity has told that the account was deleted.
//!
//! Organization ends the memberships of whoever deleted the account, but its word of it may be minutes late. What identity
//! told stands beside them as the word about the personal account (`usecase/farewells.rs`), and is read with them.

use std::collections::BTreeSet;

use bursar_db::{DbError, Tx};
use bursar_id::{OwnerId, UserId};
use bursar_members::words::{Name, Words};
use bursar_members::{Members, Word, words};

/// The word about whoever deleted the account, wherever they belonged: no event and no token says anything later.
const GONE: Word = Word { role: None, incarnation: u64::MAX, version: u64::MAX };

/// The last words about these memberships, in a transaction. Whoever is missing was never heard of. One round trip, however
/// many; name each once.
pub(crate) async fn named(tx: &mut Tx, names: &[Name]) -> Result<Words, DbError> {
    let told = words::named(tx, &with_people(names)).await?;
    Ok(without_the_gone(names, told))
}

/// The last word about one, outside of any transaction.
pub(crate) async fn word(members: &Members, owner: OwnerId, user: UserId) -> Result<Option<Word>, DbError> {
    let name = (owner, user);
    let told = members.words(&with_people(&[name])).await?;
    Ok(without_the_gone(&[name], told).remove(&name))
}

/// These names and those of the people's own accounts, each once.
fn with_people(names: &[Name]) -> Vec<Name> {
    let own = names.iter().map(|(_, user)| (OwnerId::User(*user), *user));
    let all: BTreeSet<Name> = names.iter().copied().chain(own).collect();
    all.into_iter().collect()
}

fn without_the_gone(names: &[Name], mut told: Words) -> Words {
    for (owner, user) in names {
        let own = told.get(&(OwnerId::User(*user), *user));
        if owner.organization().is_some() && own.is_some_and(|word| word.role.is_none()) {
            told.insert((*owner, *user), GONE);
        }
    }
    told
}
