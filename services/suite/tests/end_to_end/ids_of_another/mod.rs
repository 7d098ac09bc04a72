//! Whose ids they are nobody learns: every RPC that names something, with the ids of another organization and of a stranger's
//! personal context, for every caller. Nothing of it is done, and the answer is byte for byte the one for ids that do not exist.
//! So it is with all ids of an organization that is suspended or deleted: whoever never belonged there is not told.
//!
//! The RPCs and their fields come from the descriptors. What a field names is said in [`table`], a line for each RPC.

mod asking;
mod entry;
mod stage;
mod table;

use std::collections::BTreeSet;
use std::sync::Arc;

use bursar_proto::access::{CallerKind, METHODS, MethodRule};
use bursar_runtime::Service;
use tokio::task::JoinSet;
use tonic::Code;

use crate::fuzzing::service_of;
use crate::support::world::World;

use asking::Told;
use entry::{Entry, Given};
use stage::{Caller, Stage, Target, Things};

/// As many calls at least are compared in one service.
const LEAST: usize = 100;

/// Which fields of a call name what is another's: a bit for each field of the entry.
#[derive(Clone, Copy, PartialEq)]
struct Case {
    foreign: u32,
    /// Whether the first field is left out: a user's owner is the token's context then.
    headless: bool,
}

impl Case {
    /// Everything is the caller's own.
    const OWN: Self = Self { foreign: 0, headless: false };

    /// What a caller is asked with: users anything; services, who work for every owner, what hangs on the owner they name;
    /// nobody all at once.
    fn of(entry: &Entry, caller: &Caller) -> Vec<Self> {
        let named = entry.named();
        let all = named.iter().fold(0, |all, at| all | 1 << at);
        let subsets = (1..=all).filter(|foreign| foreign & !all == 0);
        let first = named.iter().filter(|at| **at == named[0] || entry.fields[**at].given == Given::Instead);
        let first = first.fold(0, |all, at| all | 1 << at);
        let within = |foreign: &u32| foreign & first == 0;
        let whole = |foreign| Self { foreign, headless: false };
        match caller {
            _ if named.is_empty() => Vec::new(),
            Caller { token: None, .. } => vec![whole(all)],
            Caller { role: Some(_), .. } => subsets.filter(within).map(whole).collect(),
            _ => {
                let headless = subsets.clone().filter(within).map(|foreign| Self { foreign, headless: true });
                // A service has no context, for whomever it calls.
                let headless = headless.filter(|_| caller.behind.is_none() && entry.may_be_headless());
                subsets.map(whole).chain(headless).collect()
            }
        }
    }

    /// Whether everything that is named is another's.
    fn is_whole(self, entry: &Entry) -> bool {
        !self.headless && entry.named().into_iter().all(|at| self.is_foreign(at))
    }

    fn is_foreign(self, field: usize) -> bool {
        self.foreign & 1 << field != 0
    }

    /// The fields that name what is another's.
    fn fields(self, entry: &Entry) -> Vec<&'static str> {
        let fields = entry.fields.iter().enumerate().filter(|(at, _)| self.is_foreign(*at));
        fields.map(|(_, field)| field.path).collect()
    }

    /// Whether the other one has anything of what is asked for.
    fn is_about(self, entry: &Entry, things: &Things) -> bool {
        let mut foreign = entry.fields.iter().enumerate().filter(|(at, _)| self.is_foreign(*at));
        foreign.any(|(_, field)| field.thing.is_some_and(|thing| things.contains_key(thing)))
    }

    /// What every field says.
    fn values(self, entry: &Entry, caller: &Caller, theirs: &Things, nobodys: &Things) -> Vec<(&'static str, String)> {
        let mut values = Vec::new();
        for (at, field) in entry.fields.iter().enumerate() {
            let Some(thing) = field.thing else {
                values.push((field.path, field.says.to_owned()));
                continue;
            };
            let whose = match field.given {
                _ if self.is_foreign(at) => theirs,
                _ if self.headless && at == entry.named()[0] => continue,
                Given::Always | Given::Answered => &caller.own,
                Given::ByServices if caller.role.is_some() => &caller.own,
                Given::ByServices | Given::Instead | Given::Seldom | Given::Narrowing => continue,
            };
            let id = whose.get(thing).or_else(|| nobodys.get(thing));
            values.push((field.path, id.unwrap_or_else(|| panic!("{}: nobody has a {thing}", entry.rpc)).clone()));
        }
        values
    }

    /// What is wrong with an answer that was the same for both.
    fn judge(self, entry: &Entry, caller: &Caller, told: &Told) -> Option<&'static str> {
        let fields = self.fields(entry);
        let may_be_empty = |given| matches!(given, Given::Narrowing | Given::Answered);
        let mut foreign = entry.fields.iter().enumerate().filter(|(at, _)| self.is_foreign(*at));
        let only_narrowed = foreign.all(|(_, field)| may_be_empty(field.given));
        let is_about_them =
            |field: &String| fields.iter().any(|path| path.rsplit('.').next() == field.rsplit('.').next());
        match told.code {
            _ if told.is_refused_late() => Some("something was told before it was refused"),
            Code::Ok if only_narrowed => None,
            Code::Ok => Some("it is done"),
            Code::NotFound | Code::PermissionDenied => None,
            Code::Unauthenticated if caller.token.is_none() => None,
            // One's own is given to nobody, whoever is named.
            Code::FailedPrecondition if told.reason == "PERSONAL_PROJECT" => None,
            Code::InvalidArgument if !told.fields.is_empty() && told.fields.iter().all(is_about_them) => None,
            _ => Some("it is refused for something else"),
        }
    }
}

/// The RPCs of the table that one service serves, with their rules.
fn entries(service: Service) -> impl Iterator<Item = (Entry, &'static MethodRule)> {
    table::NAMING.iter().map(|(rpc, fields)| Entry::of(rpc, fields)).filter_map(move |entry| {
        let rule = bursar_proto::access::rule(&entry.path())?;
        (service_of(&entry.path()) == service).then_some((entry, rule))
    })
}

/// Asks everything of one service as somebody: how many answers were compared, and what is wrong with them.
async fn asked(stage: Arc<Stage>, caller: usize, service: Service) -> (usize, Vec<String>) {
    let caller = &stage.callers[caller];
    let (mut compared, mut wrong) = (0, Vec::new());
    for (entry, rule) in entries(service) {
        if !caller.may_ask(rule) {
            continue;
        }
        for case in Case::of(&entry, caller) {
            for target in &stage.targets {
                if !case.is_about(&entry, &target.theirs) || target.closed && !asks_of_closed(&entry, caller, case) {
                    continue;
                }
                compared += 1;
                let what = || format!("{} by {}, {:?} {}", entry.rpc, caller.name, case.fields(&entry), target.name);
                let [theirs, nobodys] = told(&stage, &entry, rule, caller, case, target).await;
                if theirs != nobodys {
                    wrong.push(format!("{}: {theirs:?}, but of nothing {nobodys:?}", what()));
                } else if let Some(why) = case.judge(&entry, caller, &theirs) {
                    wrong.push(format!("{}: {why}: {theirs:?}", what()));
                }
            }
        }
    }
    (compared, wrong)
}

/// Services may know how an organization stands, and what is refused together is refused one by one.
fn asks_of_closed(entry: &Entry, caller: &Caller, case: Case) -> bool {
    caller.role.is_none() && case.is_whole(entry)
}

/// What is answered about another's, with nobody's ids in place of the other's, and about what does not exist.
async fn told(
    stage: &Stage,
    entry: &Entry,
    rule: &MethodRule,
    caller: &Caller,
    case: Case,
    Target { theirs, nobodys, .. }: &Target,
) -> [Told; 2] {
    let path = entry.path();
    let others = case.values(entry, caller, theirs, nobodys);
    let others = asking::ask(&stage.anybody, &path, rule, caller, &others).await.renamed(theirs, nobodys);
    let nothings = case.values(entry, caller, nobodys, nobodys);
    // A former member's old token names the organization itself, so it may be told of it here too.
    [others, asking::ask(&stage.anybody, &path, rule, caller, &nothings).await.renamed(theirs, nobodys)]
}

/// That the calls are ones that somebody is answered for what is the own: what is done for it, or refused otherwise.
async fn own_ids_are_known(stage: &Stage, service: Service) {
    for (entry, rule) in entries(service) {
        let may_call = |caller: &&Caller| match caller.role {
            None => rule.admits(CallerKind::User) && caller.token.is_some(),
            Some(role) => rule.service_roles.contains(&role),
        };
        // The first of all callers is an owner. What the suite's own services ask of one another nobody here may.
        let Some(caller) = stage.callers.iter().find(may_call) else { continue };
        let given = |at: &usize| matches!(entry.fields[*at].given, Given::Always | Given::Answered);
        let all = entry.named().into_iter().filter(given).fold(0, |all, at| all | 1 << at);
        let nobodys = &stage.targets[0].nobodys;
        let ask = async |case: Case| {
            let values = case.values(&entry, caller, nobodys, nobodys);
            asking::ask(&stage.anybody, &entry.path(), rule, caller, &values).await
        };
        let nothing = ask(Case { foreign: all, headless: false }).await;
        let own = ask(Case::OWN).await;
        assert_ne!(own, nothing, "{} by {}", entry.rpc, caller.name);
    }
}

async fn nobody_learns_whose_ids_they_are(world: World, service: Service) {
    let stage = Arc::new(Box::pin(Stage::set(&world)).await);
    let mut asking = JoinSet::new();
    for caller in 0..stage.callers.len() {
        asking.spawn(asked(Arc::clone(&stage), caller, service));
    }
    let (mut compared, mut wrong) = (0, Vec::new());
    while let Some(asked) = asking.join_next().await {
        let (some, found) = asked.expect("asked");
        compared += some;
        wrong.extend(found);
    }
    wrong.sort();
    assert!(wrong.is_empty(), "{} of {compared}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(compared >= LEAST, "only {compared} were compared");
    own_ids_are_known(&stage, service).await;
}

pub(crate) async fn ids_of_another_are_like_none_in_identity(world: World) {
    nobody_learns_whose_ids_they_are(world, Service::Identity).await;
}

pub(crate) async fn ids_of_another_are_like_none_in_organization(world: World) {
    nobody_learns_whose_ids_they_are(world, Service::Organization).await;
}

pub(crate) async fn ids_of_another_are_like_none_in_billing(world: World) {
    nobody_learns_whose_ids_they_are(world, Service::Billing).await;
}

#[test]
fn ids_of_another_are_asked_of_every_rpc() {
    let known: BTreeSet<String> = METHODS.iter().map(|(path, _)| (*path).to_owned()).collect();
    let naming = table::NAMING.iter().map(|(rpc, fields)| Entry::of(rpc, fields));
    let mut listed = BTreeSet::new();
    for entry in naming {
        assert!(!entry.named().is_empty(), "{} names nothing: it stands in the other list", entry.rpc);
        let said: BTreeSet<&str> = entry.fields.iter().map(|field| field.path).chain(entry.unsaid.clone()).collect();
        for path in asking::texts(&entry.path()) {
            let word = path.rsplit('.').next().unwrap_or_default();
            let is_known = said.contains(path.as_str()) || table::WORDS.contains(&word);
            assert!(
                is_known,
                "{}: say in its line what `{path}` names, or among the words that it names nothing",
                entry.rpc
            );
        }
        assert!(listed.insert(entry.path()), "{} stands twice", entry.rpc);
    }
    for (rpc, said, why) in table::NAMELESS {
        let path = format!("/bursar.{rpc}");
        assert!(!why.is_empty() && listed.insert(path.clone()), "{rpc} stands twice, or without a reason");
        let said: BTreeSet<String> = said.split_whitespace().map(str::to_owned).collect();
        let is_word = |text: &String| table::WORDS.contains(&text.rsplit('.').next().unwrap_or_default());
        let texts: BTreeSet<String> = asking::texts(&path).into_iter().filter(|text| !is_word(text)).collect();
        assert_eq!(
            texts, said,
            "{rpc}: say in its line which of its texts are no words, and give it one if they name something"
        );
    }
    let missing: Vec<_> = known.difference(&listed).collect();
    let gone: Vec<_> = listed.difference(&known).collect();
    assert!(missing.is_empty() && gone.is_empty(), "give each of {missing:?} a line in table.rs; there is no {gone:?}");
}
