//! Putting right what events can: whoever knows something wrong of another service learns all that it tells anew.

use std::collections::BTreeMap;

use bursar_db::{Db, Tx};
use bursar_events::inspection::relearn;
use bursar_members::{policies, standings, words};
use bursar_organization::usecase::inspection as organization;
use bursar_runtime::{Each, Service};

use super::difference::{Cure, Doubt, Found};

/// Repairs what it can; says what it has done, and what it cannot do, a line each.
pub(crate) async fn repair(stores: &Each<Db>, found: &Found) -> anyhow::Result<Vec<String>> {
    let mut said = Vec::new();
    let mut doubts: BTreeMap<(Service, Service), Vec<&Doubt>> = BTreeMap::new();
    for difference in found.all() {
        match &difference.cure {
            Cure::Told(source, doubt) => doubts.entry((difference.service, *source)).or_default().push(doubt),
            Cure::Operator => said.push(format!("no event heals this, an operator has to look: {difference}")),
        }
    }
    for ((service, source), doubts) in doubts {
        let mut tx = stores[service].begin().await?;
        // First, as whoever applies events does: two who want the same do not wait for one another.
        relearn(&mut tx, source.name()).await?;
        for doubt in &doubts {
            withdraw(&mut tx, doubt).await?;
        }
        tx.commit().await?;
        let count = doubts.len();
        said.push(format!(
            "{service} learns anew, within seconds of running, what {source} tells: {count} differences"
        ));
    }
    Ok(said)
}

async fn withdraw(tx: &mut Tx, doubt: &Doubt) -> anyhow::Result<()> {
    match doubt {
        Doubt::Nothing => {}
        Doubt::Membership(name) => words::doubt(tx, *name).await?,
        Doubt::Policies(owner) => policies::doubt(tx, *owner).await?,
        Doubt::Standing(owner) => standings::doubt(tx, *owner).await?,
        Doubt::Seats(id) => organization::doubt_seats(tx, *id).await?,
    }
    Ok(())
}
