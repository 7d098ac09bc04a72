//! The story, an act a file. Each step makes one call that matters, and checks what it gives.

mod farewell;
mod month;
mod pack;
mod people;
mod product;
mod spending;
mod team;
mod usage;

use std::{
    cell::Cell,
    path::{Path, PathBuf},
    time::Duration,
};

use bursar_proto::billing::v1::{GetBalanceRequest, GetBalanceResponse, LotSource};
use bursar_secret::Entropy;

use crate::mailbox::Mailbox;

use super::{
    stage::Stage,
    wire::{Wire, answer},
};

/// How long anything may take that happens by itself.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often is looked whether it has happened.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// What every act needs.
pub(super) struct Play {
    /// Nobody's connection.
    wire: Wire,
    mail: Mailbox,
    /// Where the operator's file is.
    data_dir: PathBuf,
    /// Makes this performance's addresses and request ids its own.
    run: String,
    requests: Cell<u32>,
}

/// Somebody with an account.
#[derive(Clone)]
struct Actor {
    name: &'static str,
    email: String,
    user: String,
    /// Calls with the actor's token.
    wire: Wire,
    refresh_token: String,
}

/// The organization and its two people, each acting in it.
struct Team {
    id: String,
    ada: Actor,
    ben: Actor,
    /// The product's service, which works for both.
    product: Wire,
}

impl Play {
    pub(super) fn new(wire: Wire, data_dir: &Path) -> Self {
        let run = Entropy::system().bytes::<3>().map(|byte| format!("{byte:02x}")).concat();
        Self { wire, mail: Mailbox::of(data_dir), data_dir: data_dir.to_owned(), run, requests: Cell::new(0) }
    }

    /// Everything from the first act to the last.
    pub(super) async fn perform(mut self, stage: &mut Stage) -> anyhow::Result<()> {
        let (ada, ben) = people::meet(stage, &mut self).await?;
        let team = team::found(stage, &mut self, ada, ben).await?;
        spending::spend(stage, &self, &team).await?;
        pack::buy(stage, &self, &team).await?;
        farewell::part_ways(stage, &self, &team).await?;
        let ada = month::pass(stage, &self, &team).await?;
        usage::show(stage, &team, &ada).await
    }

    /// A request id that nobody has used.
    fn request_id(&self) -> String {
        self.requests.set(self.requests.get() + 1);
        format!("demo-{}-{}", self.run, self.requests.get())
    }
}

/// What an owner has.
async fn balance(actor: &Actor, owner: &str) -> anyhow::Result<GetBalanceResponse> {
    answer(
        actor
            .wire
            .accounts()
            .get_balance(GetBalanceRequest { owner: owner.to_owned(), ..GetBalanceRequest::default() })
            .await,
    )
}

/// The spendable lots in burn order, each with what is left in it.
fn lots(balance: &GetBalanceResponse) -> Vec<(LotSource, &str)> {
    balance.lots.iter().map(|lot| (lot.source(), lot.remaining.as_str())).collect()
}

/// The same in words.
fn in_words(lots: &[(LotSource, &str)]) -> String {
    let one = |(source, left): &(LotSource, &str)| format!("{} {left}", named(*source));
    lots.iter().map(one).collect::<Vec<_>>().join(", then ")
}

fn named(source: LotSource) -> &'static str {
    match source {
        LotSource::Allowance => "allowance",
        LotSource::Pack => "pack",
        LotSource::Promotion => "promotion",
        LotSource::Goodwill => "goodwill",
        LotSource::Adjustment => "adjustment",
        LotSource::Unspecified => "something",
    }
}

/// Errs unless the two are equal, naming both.
fn expect<T: PartialEq + std::fmt::Debug>(what: &str, is: &T, should_be: &T) -> anyhow::Result<()> {
    anyhow::ensure!(is == should_be, "{what} is {is:?} and should be {should_be:?}");
    Ok(())
}

/// Errs unless two texts are equal.
fn expect_text(what: &str, is: &str, should_be: &str) -> anyhow::Result<()> {
    expect(what, &is, &should_be)
}

/// Looks until there is something to see, for at most `patience`.
async fn eventually<T>(
    what: &str,
    patience: Duration,
    mut look: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let happens = async {
        loop {
            if let Some(seen) = look().await? {
                return Ok(seen);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    match tokio::time::timeout(patience, happens).await {
        Ok(seen) => seen,
        Err(_) => anyhow::bail!("{what} did not happen within {} seconds", patience.as_secs()),
    }
}
