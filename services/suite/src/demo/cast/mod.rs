//! Who acts in a story, the calls that they make (`calls.rs`), and how it is checked what they are given. What they do with
//! them stands in `scenes/` and `guides/`.

pub(super) mod calls;
pub(super) mod people;
pub(super) mod product;

use std::{
    cell::Cell,
    path::{Path, PathBuf},
    rc::Rc,
    time::Duration,
};

use bursar_proto::billing::v1::{GetBalanceResponse, LotSource};
use bursar_secret::Entropy;

use super::wire::Wire;
use crate::mailbox::Mailbox;
pub(super) use crate::waiting::{PATIENCE, eventually};

/// How soon a removal or another role holds in every service.
const HOLDS_WITHIN: Duration = Duration::from_secs(2);

/// What every act needs.
pub(super) struct Play {
    /// Nobody's connection.
    pub(super) wire: Wire,
    pub(super) mail: Mailbox,
    /// Where the operator's file is.
    data_dir: PathBuf,
    run: Rc<Run>,
}

/// One performance: makes its addresses, names and request ids its own.
pub(super) struct Run {
    name: String,
    requests: Cell<u32>,
}

impl Run {
    fn request_id(&self) -> String {
        self.requests.set(self.requests.get() + 1);
        format!("demo-{}-{}", self.name, self.requests.get())
    }
}

/// Somebody with an account, acting in one context.
#[derive(Clone)]
pub(super) struct Actor {
    pub(super) name: &'static str,
    pub(super) email: String,
    pub(super) user: String,
    /// The context in which the token acts: `user`, or an organization.
    pub(super) owner: String,
    /// Calls with the actor's token.
    pub(super) wire: Wire,
    pub(super) refresh_token: String,
    run: Rc<Run>,
}

impl Play {
    pub(super) fn new(wire: Wire, data_dir: &Path) -> Self {
        let name = Entropy::system().bytes::<3>().map(|byte| format!("{byte:02x}")).concat();
        let run = Rc::new(Run { name, requests: Cell::new(0) });
        Self { wire, mail: Mailbox::of(data_dir), data_dir: data_dir.to_owned(), run }
    }

    /// What nobody else who plays calls anything: part of addresses and slugs.
    pub(super) fn run(&self) -> &str {
        &self.run.name
    }

    /// A request id that nobody has used.
    pub(super) fn request_id(&self) -> String {
        self.run.request_id()
    }
}

impl Actor {
    /// The same token, asking for another owner: what RPCs that go by the token's context refuse, and others do not.
    pub(super) fn at(&self, owner: &str) -> Self {
        Self { owner: owner.to_owned(), ..self.clone() }
    }

    /// A request id that nobody has used.
    pub(super) fn request_id(&self) -> String {
        self.run.request_id()
    }
}

/// The spendable lots in burn order, each with what is left in it.
pub(super) fn lots(balance: &GetBalanceResponse) -> Vec<(LotSource, &str)> {
    balance.lots.iter().map(|lot| (lot.source(), lot.remaining.as_str())).collect()
}

/// The same in words.
pub(super) fn in_words(lots: &[(LotSource, &str)]) -> String {
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
pub(super) fn expect<T: PartialEq + std::fmt::Debug>(what: &str, is: &T, should_be: &T) -> anyhow::Result<()> {
    anyhow::ensure!(is == should_be, "{what} is {is:?} and should be {should_be:?}");
    Ok(())
}

/// Errs unless two texts are equal.
pub(super) fn expect_text(what: &str, is: &str, should_be: &str) -> anyhow::Result<()> {
    expect(what, &is, &should_be)
}

/// Looks until everything in `look` is as it should be, as long as a change may take to hold everywhere.
pub(super) async fn soon(what: &str, mut look: impl AsyncFnMut() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut last = String::new();
    let seen = eventually(what, HOLDS_WITHIN, async || match look().await {
        Ok(()) => Ok(Some(())),
        Err(error) => {
            last = format!("{error:#}");
            Ok(None)
        }
    })
    .await;
    seen.map_err(|error| error.context(last))
}
