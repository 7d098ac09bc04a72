//! The vocabulary: which keys exist, what kind of value each takes, and which one a misspelt key meant.
//!
//! The vocabulary is not written down a second time: it is the shape of the default settings.

use figment::value::{Dict, Num, Value};

use crate::Service;

/// Settings that may also be read from a file, under their own name and this suffix, because they can
/// hold a password.
pub(crate) fn secret_keys() -> impl Iterator<Item = Vec<&'static str>> {
    Service::ALL
        .into_iter()
        .map(|service| vec![service.store_key()])
        .chain([vec!["mail", "smtp_url"]])
        .chain([["s3", "secret_access_key"], ["gcs", "service_account_key"], ["azure", "access_key"]].map(Vec::from))
        .chain(["secret_key", "webhook_secret", "former_webhook_secret"].map(|key| vec!["payments", "stripe", key]))
}

/// `identity_store_file = "/run/secrets/url"` is read as `identity_store`.
pub(crate) const FILE_SUFFIX: &str = "_file";

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Number,
    Bool,
    Section,
}

/// Every key there is.
#[derive(Debug)]
pub(crate) struct Vocabulary {
    defaults: Dict,
}

impl Vocabulary {
    pub(crate) fn new(defaults: Dict) -> Self {
        Self { defaults }
    }

    /// What `path` is for, or nothing if no such key exists.
    pub(crate) fn kind(&self, path: &[String]) -> Option<Kind> {
        let (last, parents) = path.split_last()?;
        let mut dict = &self.defaults;
        for parent in parents {
            dict = dict.get(parent)?.as_dict()?;
        }
        if let Some(value) = dict.get(last) {
            return Some(match value {
                Value::Dict(..) => Kind::Section,
                Value::Num(..) => Kind::Number,
                Value::Bool(..) => Kind::Bool,
                _ => Kind::Text,
            });
        }
        let stem = last.strip_suffix(FILE_SUFFIX)?;
        secret_keys()
            .any(|key| key.split_last().is_some_and(|(name, section)| *name == stem && parents == section))
            .then_some(Kind::Text)
    }

    /// Every path in `layer` that is no key.
    pub(crate) fn unknown(&self, layer: &Dict) -> Vec<Vec<String>> {
        let mut unknown = Vec::new();
        self.collect_unknown(layer, &mut Vec::new(), &mut unknown);
        unknown
    }

    fn collect_unknown(&self, dict: &Dict, path: &mut Vec<String>, unknown: &mut Vec<Vec<String>>) {
        for (key, value) in dict {
            path.push(key.clone());
            match (self.kind(path), value) {
                (None, _) => unknown.push(path.clone()),
                (Some(Kind::Section), Value::Dict(_, inner)) => {
                    self.collect_unknown(inner, path, unknown);
                }
                _ => {}
            }
            path.pop();
        }
    }

    /// The key that `path` most likely meant, if one is close.
    pub(crate) fn nearest(&self, path: &[String]) -> Option<Vec<String>> {
        let written = path.join(".");
        let mut best: Option<(usize, Vec<String>)> = None;
        for key in self.leaves() {
            let distance = bursar_form::distance(&written, &key.join("."));
            if distance <= 1 + written.len() / 5 && best.as_ref().is_none_or(|(d, _)| distance < *d) {
                best = Some((distance, key));
            }
        }
        best.map(|(_, key)| key)
    }

    /// Every key that holds a value, with the sections it is in.
    pub(crate) fn leaves(&self) -> Vec<Vec<String>> {
        fn walk(dict: &Dict, path: &mut Vec<String>, leaves: &mut Vec<Vec<String>>) {
            for (key, value) in dict {
                path.push(key.clone());
                match value {
                    Value::Dict(_, inner) => walk(inner, path, leaves),
                    _ => leaves.push(path.clone()),
                }
                path.pop();
            }
        }
        let mut leaves = Vec::new();
        walk(&self.defaults, &mut Vec::new(), &mut leaves);
        leaves
    }
}

/// Reads the text of an environment variable as the kind of value its key takes. Text that does not fit
/// stays text, and is refused with everything else that does not fit.
pub(crate) fn coerce(text: String, kind: Kind) -> Value {
    match kind {
        Kind::Number => text.parse::<u64>().map_or_else(|_| Value::from(text), |n| Value::from(Num::U64(n))),
        Kind::Bool => text.parse::<bool>().map_or_else(|_| Value::from(text), Value::from),
        Kind::Text | Kind::Section => Value::from(text),
    }
}
