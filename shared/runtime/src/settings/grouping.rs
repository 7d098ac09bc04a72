//! What the settings say of each service: people write one flat key for each (`billing_store`), the program keeps one
//! value for each service together ([`Each`]). Here is the way from the one to the other and back.

use figment::value::{Dict, Value};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeMap as _};

use crate::{Each, Service};

/// A setting that each service has one of.
pub(crate) struct Group {
    /// The field of [`Settings`](super::Settings).
    field: &'static str,
    /// The section in which its keys are written; none for the top.
    section: Option<&'static str>,
    /// The key of one service.
    pub(crate) key: fn(Service) -> &'static str,
}

pub(crate) const STORES: Group = Group { field: "stores", section: None, key: Service::store_key };
pub(crate) const URLS: Group = Group { field: "urls", section: None, key: Service::url_key };
const SECRETS: Group = Group { field: "service_secrets", section: Some("service_secrets"), key: Service::secret_key };
const GROUPS: [&Group; 3] = [&STORES, &URLS, &SECRETS];

/// As the program keeps it: from the keys that people write.
pub(crate) fn grouped(mut written: Dict) -> Dict {
    for group in GROUPS {
        let mut values = Dict::new();
        if let Some(section) = section(&mut written, group.section) {
            for service in Service::ALL {
                if let Some(value) = section.remove((group.key)(service)) {
                    values.insert(service.name().to_owned(), value);
                }
            }
        }
        // A section that is no table stays as it was written, and is refused as such.
        let is_table = written.get(group.field).is_none_or(|value| value.as_dict().is_some());
        if is_table && !values.is_empty() {
            written.insert(group.field.to_owned(), Value::from(values));
        }
    }
    written
}

/// As people write it: from what the program keeps.
pub(crate) fn written(mut grouped: Dict) -> Dict {
    for group in GROUPS {
        let Some(Value::Dict(_, values)) = grouped.remove(group.field) else {
            continue;
        };
        if let Some(name) = group.section {
            grouped.insert(name.to_owned(), Value::from(Dict::new()));
        }
        let Some(section) = section(&mut grouped, group.section) else {
            continue;
        };
        for (name, value) in values {
            if let Some(service) = Service::named(&name) {
                section.insert((group.key)(service).to_owned(), value);
            }
        }
    }
    grouped
}

/// The key that people write for a place in what the program keeps.
pub(crate) fn written_path(path: &[String]) -> Vec<String> {
    if let [field, name, ..] = path
        && let Some(group) = GROUPS.into_iter().find(|group| group.field == field)
        && let Some(service) = Service::named(name)
    {
        return group.section.into_iter().chain([(group.key)(service)]).map(str::to_owned).collect();
    }
    path.to_vec()
}

fn section<'a>(dict: &'a mut Dict, name: Option<&str>) -> Option<&'a mut Dict> {
    let Some(name) = name else {
        return Some(dict);
    };
    match dict.get_mut(name) {
        Some(Value::Dict(_, inner)) => Some(inner),
        _ => None,
    }
}

impl<T: Serialize> Serialize for Each<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(Service::COUNT))?;
        for (service, value) in self.iter() {
            map.serialize_entry(service.name(), value)?;
        }
        map.end()
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Each<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut given = std::collections::BTreeMap::<String, T>::deserialize(deserializer)?;
        Self::try_of(|service| given.remove(service.name()).ok_or_else(|| de::Error::missing_field(service.name())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_say_the_same() {
        let text = "billing_store = 'b'\nidentity_store = 'i'\nbilling_url = 'u'\nmode = 'm'\n\
                    [service_secrets]\nbilling_file = 'f'\n";
        let flat: Dict = toml::from_str(text).expect("TOML");
        let kept = grouped(flat.clone());
        for (path, value) in [("stores.billing", "b"), ("urls.billing", "u"), ("service_secrets.billing", "f")] {
            let found = Value::from(kept.clone()).find(path).and_then(Value::into_string);
            assert_eq!(found.as_deref(), Some(value), "{path}");
        }
        assert!(!kept.contains_key("billing_store"));
        assert_eq!(written(kept), flat);
    }

    #[test]
    fn places_are_named_as_they_are_written() {
        for (kept, key) in [
            ("stores.billing", "billing_store"),
            ("urls.identity", "identity_url"),
            ("service_secrets.organization", "service_secrets.organization_file"),
            ("stores.nobody", "stores.nobody"),
            ("limits.deadline", "limits.deadline"),
            ("mode", "mode"),
        ] {
            let path: Vec<String> = kept.split('.').map(str::to_owned).collect();
            assert_eq!(written_path(&path).join("."), key);
        }
    }
}
