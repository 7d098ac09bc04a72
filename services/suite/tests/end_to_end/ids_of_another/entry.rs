//! What the line of an RPC says about its fields.

/// When a field is given that names something of the caller's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Given {
    /// `owner:account`: always.
    Always,
    /// `user_id+user`: always, and that nobody is meant is an answer.
    Answered,
    /// `member!user`: by services, for whom they have to say it; by users only what is another's.
    ByServices,
    /// `slug/slug`: only to name what is another's, instead of the first one.
    Instead,
    /// `parent?item`: only to name what is another's.
    Seldom,
    /// `member~user`: only to name what is another's; it chooses among what is shown, so that an empty answer is one.
    Narrowing,
}

/// One field.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    /// Its name, with those of the messages around it.
    pub(crate) path: &'static str,
    /// What sort of thing it names; `None` where it says something else.
    pub(crate) thing: Option<&'static str>,
    /// What it says where it names nothing: `amount=1`.
    pub(crate) says: &'static str,
    /// When it is given.
    pub(crate) given: Given,
}

/// One RPC.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Such as `billing.v1.CreditService/Capture`.
    pub(crate) rpc: &'static str,
    /// Its fields, first the one that all others hang on.
    pub(crate) fields: Vec<Field>,
    /// Texts that are left out because they name nothing here: `-slug`.
    pub(crate) unsaid: Vec<&'static str>,
}

impl Entry {
    /// Reads a line.
    pub(crate) fn of(rpc: &'static str, line: &'static str) -> Self {
        let (unsaid, said): (Vec<_>, Vec<_>) = line.split_whitespace().partition(|word| word.starts_with('-'));
        let unsaid = unsaid.into_iter().map(|word| &word[1..]).collect();
        Self { rpc, fields: said.into_iter().map(field).collect(), unsaid }
    }

    /// Where it is served.
    pub(crate) fn path(&self) -> String {
        format!("/bursar.{}", self.rpc)
    }

    /// The fields that name something, by their numbers.
    pub(crate) fn named(&self) -> Vec<usize> {
        let named = self.fields.iter().enumerate().filter(|(_, field)| field.thing.is_some());
        named.map(|(at, _)| at).collect()
    }

    /// Whether users may leave the owner out: in billing, where it is the token's context then.
    pub(crate) fn may_be_headless(&self) -> bool {
        self.rpc.starts_with("billing.") && self.fields[0].path.ends_with("owner")
    }
}

fn field(word: &'static str) -> Field {
    let at =
        word.find([':', '+', '/', '!', '?', '~', '=']).unwrap_or_else(|| panic!("{word}: what does it name, or say?"));
    let (path, rest) = (&word[..at], &word[at + 1..]);
    let given = match word.as_bytes()[at] {
        b'+' => Given::Answered,
        b'/' => Given::Instead,
        b'!' => Given::ByServices,
        b'?' => Given::Seldom,
        b'~' => Given::Narrowing,
        _ => Given::Always,
    };
    let is_said = word.as_bytes()[at] == b'=';
    Field { path, thing: (!is_said).then_some(rest), says: if is_said { rest } else { "" }, given }
}
