//! Compiles the .proto files without protoc, and turns two kinds of option into code: the access rule of each RPC into a
//! table, and `debug_redact` fields into `Debug` implementations that do not print them.

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, MethodDescriptor, ReflectMessage as _, Value};
use prost_types::FileDescriptorSet;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The option that carries an RPC's access rule.
const RULE: &str = "bursar.access.v1.rule";

fn main() -> Result<()> {
    let out = PathBuf::from(env::var("OUT_DIR")?);
    println!("cargo::rerun-if-changed=bursar");
    println!("cargo::rerun-if-changed=google");

    let mut files = proto_files(Path::new("bursar"))?;
    files.extend(proto_files(Path::new("google"))?);
    files.sort();

    let mut compiler = protox::Compiler::new(["."])?;
    compiler.include_source_info(true).include_imports(true).open_files(&files)?;
    // Not `file_descriptor_set()`: prost's types drop option extensions, and with them the access rules.
    let encoded = compiler.encode_file_descriptor_set();
    fs::write(out.join("descriptors.bin"), &encoded)?;

    let pool = DescriptorPool::decode(encoded.as_slice())?;
    let redacted: Vec<MessageDescriptor> = pool
        .all_messages()
        .filter(|message| ours(message.package_name()) && message.fields().any(|field| is_redacted(&field)))
        .collect();
    fs::write(out.join("redacted.rs"), redacted_debug(&redacted)?)?;
    fs::write(out.join("methods.rs"), method_table(&pool)?)?;

    let mut builder = tonic_prost_build::configure()
        // Maps in a fixed order: the same message always encodes to the same bytes, which idempotency hashes rely on.
        .btree_map(".")
        .emit_rerun_if_changed(false);
    for message in &redacted {
        builder = builder.skip_debug([format!(".{}", message.full_name())]);
    }
    builder.compile_fds(FileDescriptorSet::decode(encoded.as_slice())?)?;
    Ok(())
}

/// Every .proto file below a folder, as a path relative to this crate.
fn proto_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(proto_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            files.push(path);
        }
    }
    Ok(files)
}

/// Whether a package is one of this project's, not a vendored one.
fn ours(package: &str) -> bool {
    package.starts_with("bursar.")
}

/// Whether a field carries `[debug_redact = true]`.
fn is_redacted(field: &prost_reflect::FieldDescriptor) -> bool {
    field.options().get_field_by_name("debug_redact").is_some_and(|value| value.as_bool() == Some(true))
}

/// `Debug` implementations that show a redacted field's name and nothing of its value.
fn redacted_debug(messages: &[MessageDescriptor]) -> Result<String> {
    let mut code = String::new();
    for message in messages {
        let path = message.package_name().replace('.', "::");
        let name = message.name();
        write!(
            code,
            "impl ::core::fmt::Debug for crate::{path}::{name} {{\n    \
             fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {{\n        \
             f.debug_struct(\"{name}\")"
        )?;
        for field in message.fields() {
            let field_name = field.name();
            if is_redacted(&field) {
                write!(code, ".field(\"{field_name}\", &::core::format_args!(\"[redacted]\"))")?;
            } else {
                write!(code, ".field(\"{field_name}\", &self.{field_name})")?;
            }
        }
        code.push_str(".finish()\n    }\n}\n");
    }
    Ok(code)
}

/// The table of every RPC of the bursar packages, sorted by path.
fn method_table(pool: &DescriptorPool) -> Result<String> {
    let mut rows: Vec<(String, String)> = Vec::new();
    for service in pool.services().filter(|service| ours(service.package_name())) {
        for method in service.methods() {
            let path = format!("/{}/{}", service.full_name(), method.name());
            rows.push((path, method_rule(pool, &method)?));
        }
    }
    rows.sort();
    let mut code = String::from("&[\n");
    for (path, rule) in rows {
        writeln!(code, "    (\"{path}\", {rule}),")?;
    }
    code.push_str("]\n");
    Ok(code)
}

/// The Rust expression for one RPC's `Option<MethodRule>`.
fn method_rule(pool: &DescriptorPool, method: &MethodDescriptor) -> Result<String> {
    let extension = pool.get_extension_by_name(RULE).ok_or("the access rule's option is not declared")?;
    let options = method.options();
    if !options.has_extension(&extension) {
        return Ok("None".to_owned());
    }
    let value = options.get_extension(&extension);
    let rule = value.as_message().ok_or("the access rule is not a message")?;
    let callers = list(rule, "callers", |value| enum_variant(rule, "callers", "CallerKind", value))?;
    let permission = enum_variant(rule, "permission", "Permission", field(rule, "permission")?.as_ref())?;
    let roles = list(rule, "service_roles", |value| {
        Ok(format!("{:?}", value.as_str().ok_or("a service role is not a string")?))
    })?;
    let idempotency = match options.get_field_by_name("idempotency_level").and_then(|value| value.as_enum_number()) {
        Some(1) => "NoSideEffects",
        Some(2) => "Idempotent",
        _ => "Unknown",
    };
    let recent = field(rule, "recent_authentication")?.as_bool().ok_or("recent_authentication is not a bool")?;
    let by_secret = field(rule, "proven_by_secret")?.as_bool().ok_or("proven_by_secret is not a bool")?;
    let acting = enum_variant(rule, "acting", "Acting", field(rule, "acting")?.as_ref())?;
    Ok(format!(
        "Some(MethodRule {{ callers: &[{callers}], permission: {permission}, service_roles: &[{roles}], \
         recent_authentication: {recent}, acting: {acting}, proven_by_secret: {by_secret}, idempotency: Idempotency::{idempotency}, server_streaming: {}, client_streaming: {} }})",
        method.is_server_streaming(),
        method.is_client_streaming(),
    ))
}

/// A field of a dynamic message, by its name.
fn field<'a>(message: &'a DynamicMessage, name: &str) -> Result<std::borrow::Cow<'a, Value>> {
    message.get_field_by_name(name).ok_or_else(|| format!("the access rule has no field {name}").into())
}

/// A repeated field's values, each as a Rust expression, separated by commas.
fn list(message: &DynamicMessage, name: &str, expression: impl Fn(&Value) -> Result<String>) -> Result<String> {
    let value = field(message, name)?;
    let values = value.as_list().ok_or_else(|| format!("{name} is not repeated"))?;
    Ok(values.iter().map(expression).collect::<Result<Vec<_>>>()?.join(", "))
}

/// An enum's value as a Rust path: `PERMISSION_USE_WORKSPACE` becomes `Permission::UseWorkspace`.
fn enum_variant(rule: &DynamicMessage, name: &str, rust: &str, value: &Value) -> Result<String> {
    let field = rule.descriptor().get_field_by_name(name).ok_or("no such field")?;
    let kind = field.kind();
    let descriptor = kind.as_enum().ok_or("not an enum")?;
    let number = value.as_enum_number().ok_or("not an enum's value")?;
    let value = descriptor.get_value(number).ok_or_else(|| format!("{number} is not a value of {rust}"))?;
    // The zero value is the prefix and `UNSPECIFIED`, by buf's ENUM_ZERO_VALUE_SUFFIX.
    let prefix = descriptor.default_value().name().trim_end_matches("UNSPECIFIED").to_owned();
    let short = value.name().strip_prefix(&prefix).ok_or("a value without the enum's prefix")?;
    let mut camel: String = short.split('_').map(|word| word[..1].to_owned() + &word[1..].to_lowercase()).collect();
    if camel == "Self" {
        // A keyword: prost appends an underscore.
        camel.push('_');
    }
    Ok(format!("{rust}::{camel}"))
}
