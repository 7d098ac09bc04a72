//! Everything in the protocol is documented: the .proto files are the reference manual.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use bursar_proto::FILE_DESCRIPTOR_SET;
use prost_reflect::prost_types::MessageOptions;
use prost_reflect::{DescriptorPool, FileDescriptor};

fn pool() -> DescriptorPool {
    DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("the reflection set decodes")
}

fn our_files(pool: &DescriptorPool) -> Vec<FileDescriptor> {
    let files: Vec<_> = pool.files().filter(|file| file.package_name().starts_with("bursar.")).collect();
    assert!(!files.is_empty(), "the set has no file of the bursar packages");
    files
}

fn none<T: std::fmt::Debug>(what: &str, found: &[T]) {
    assert!(found.is_empty(), "{what}:\n{found:#?}");
}

/// The path of a location in a file, as `SourceCodeInfo` writes it.
type Location = Vec<i32>;

/// Every location that needs a comment, with a name for the failure.
fn documentable(file: &FileDescriptor) -> Vec<(Location, String)> {
    let proto = file.file_descriptor_proto();
    let mut wanted = Vec::new();
    let index = |index: usize| i32::try_from(index).expect("fits");
    for (m, message) in proto.message_type.iter().enumerate() {
        assert!(
            message.nested_type.iter().all(|nested| nested.options.as_ref().is_some_and(MessageOptions::map_entry))
                && message.enum_type.is_empty(),
            "{}: nested types are not looked at here; declare it at the top",
            message.name()
        );
        wanted.push((vec![4, index(m)], message.name().to_owned()));
        for (f, field) in message.field.iter().enumerate() {
            wanted.push((vec![4, index(m), 2, index(f)], format!("{}.{}", message.name(), field.name())));
        }
        for (o, oneof) in message.oneof_decl.iter().enumerate() {
            if !oneof.name().starts_with('_') {
                wanted.push((vec![4, index(m), 8, index(o)], format!("{}.{}", message.name(), oneof.name())));
            }
        }
    }
    for (e, declared) in proto.enum_type.iter().enumerate() {
        wanted.push((vec![5, index(e)], declared.name().to_owned()));
        for (v, value) in declared.value.iter().enumerate() {
            wanted.push((vec![5, index(e), 2, index(v)], value.name().to_owned()));
        }
    }
    for (s, service) in proto.service.iter().enumerate() {
        wanted.push((vec![6, index(s)], service.name().to_owned()));
        for (m, method) in service.method.iter().enumerate() {
            wanted.push((vec![6, index(s), 2, index(m)], format!("{}/{}", service.name(), method.name())));
        }
    }
    for (x, extension) in proto.extension.iter().enumerate() {
        wanted.push((vec![7, index(x)], extension.name().to_owned()));
    }
    wanted
}

/// The leading comment at a location.
fn comment<'a>(file: &'a FileDescriptor, location: &Location) -> Option<&'a str> {
    let info = file.file_descriptor_proto().source_code_info.as_ref()?;
    let found = info.location.iter().find(|candidate| candidate.path == *location)?;
    found.leading_comments.as_deref().map(str::trim).filter(|comment| !comment.is_empty())
}

#[test]
fn everything_has_a_comment() {
    let missing: Vec<_> = our_files(&pool())
        .iter()
        .flat_map(|file| {
            documentable(file)
                .into_iter()
                .filter(|(location, _)| comment(file, location).is_none())
                .map(|(_, name)| format!("{}: {name}", file.name()))
                .collect::<Vec<_>>()
        })
        .collect();
    none("without a comment", &missing);
}

#[test]
fn every_rpc_says_who_may_call_and_whether_it_may_be_repeated() {
    let mut missing = Vec::new();
    for file in our_files(&pool()) {
        for (location, name) in
            documentable(&file).into_iter().filter(|(location, _)| matches!(location[..], [6, _, 2, _]))
        {
            let text = comment(&file, &location).unwrap_or_default();
            if !text.contains("Who: ") {
                missing.push(format!("{name}: who may call"));
            }
            let words = text.to_lowercase();
            if !["idempotent", "changes nothing", "request id"].iter().any(|phrase| words.contains(phrase)) {
                missing.push(format!("{name}: idempotent or not"));
            }
        }
    }
    none("not said in the comment", &missing);
}
