//! Putting right what events can: whoever knows something wrong of another service learns all that it tells anew.

use std::collections::BTreeMap;

use bursar_billing::inspection as billing;
use bursar_db::{Db, Tx};
use bursar_events::inspection::relearn;
use bursar_members::{policies, standings, words};
use bursar_organization::usecase::inspection as organization;
use bursar_runtime::{Each, Service};

use super::difference::{Cure, Doubt, Found};

/// Repairs what it can; says what it has done as soon as it is, and what it cannot do, a line each. What fails is said
/// in its place, and the rest is repaired.
pub(crate) async fn repair(stores: &Each<Db>, found: &Found, mut say: impl FnMut(&str)) {
    let mut doubts: BTreeMap<(Service, Service), Vec<&Doubt>> = BTreeMap::new();
    for difference in found.all() {
        match &difference.cure {
            Cure::Told(source, doubt) => doubts.entry((difference.service, *source)).or_default().push(doubt),
            Cure::Operator => say(&format!("no event heals this, an operator has to look: {difference}")),
        }
    }
    for ((service, source), doubts) in doubts {
        let count = doubts.len();
        say(&match learn_anew(&stores[service], source, &doubts).await {
            Ok(()) => {
                format!("{service} learns anew, within seconds of running, what {source} tells: {count} differences")
            }
            Err(error) => format!("{service} could not be made to learn anew what {source} tells: {error:#}"),
        });
    }
}

async fn learn_anew(store: &Db, source: Service, doubts: &[&Doubt]) -> anyhow::Result<()> {
    let mut tx = store.begin().await?;
    // First, as whoever applies events does: two who want the same do not wait for one another.
    relearn(&mut tx, source.name()).await?;
    for doubt in doubts {
        withdraw(&mut tx, doubt).await?;
    }
    Ok(tx.commit().await?)
}

async fn withdraw(tx: &mut Tx, doubt: &Doubt) -> anyhow::Result<()> {
    match doubt {
        Doubt::Nothing => {}
        Doubt::Membership(name) => words::doubt(tx, *name).await?,
        Doubt::Policies(owner) => policies::doubt(tx, *owner).await?,
        Doubt::Standing(owner) => standings::doubt(tx, *owner).await?,
        Doubt::Seats(id) => organization::doubt_seats(tx, *id).await?,
        Doubt::Project(owner, id) => billing::doubt_project(tx, (*owner, *id)).await?,
    }
    Ok(())
}
