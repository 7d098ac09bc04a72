//! A call of any RPC with any fields, and all that comes back of it, byte for byte.

use std::fmt;

use bursar_proto::access::MethodRule;
use bursar_proto::billing::v1::{BatchChargeResponse, batch_charge_outcome::Outcome};
use bursar_testkit::{Client, Refusal};
use bytes::Bytes;
use prost_reflect::prost::Message as _;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage as _, Value};
use tokio_stream as stream;
use tonic::{Code, Request, Status};

use super::stage::{Caller, Things};
use crate::fuzzing::{message_of, transport};
use crate::trust::Raw;

/// What is each call's own: its id, and when it was answered.
const OF_EACH_CALL: [&str; 2] = ["x-request-id", "date"];

/// What somebody is told.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) code: Code,
    message: Vec<u8>,
    details: Vec<u8>,
    headers: Vec<(String, Vec<u8>)>,
    answers: Vec<Vec<u8>>,
    /// Why it is refused.
    pub(crate) reason: String,
    /// The fields that a refusal names.
    pub(crate) fields: Vec<String>,
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
        let headers = self.headers.iter().map(|(name, value)| format!("{name}: {}", text(value)));
        let answers: Vec<_> = self.answers.iter().map(text).collect();
        write!(f, "{:?} {:?} {:?}", self.code, text(&self.message), text(&self.details))?;
        write!(f, " {:?} {answers:?}", headers.collect::<Vec<_>>())
    }
}

impl Told {
    fn answered(answers: Vec<Bytes>) -> Self {
        let answers = answers.into_iter().map(Vec::from).collect();
        let (message, details, headers, reason, fields) = Default::default();
        Self { code: Code::Ok, message, details, headers, answers, reason, fields }
    }

    fn refused(status: &Status) -> Self {
        let headers = status.metadata().clone().into_headers();
        let mut headers: Vec<_> =
            headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect();
        headers.retain(|(name, _)| !OF_EACH_CALL.contains(&name.as_str()));
        headers.sort();
        let Refusal { reason, fields, .. } = Refusal::of(status);
        Self {
            code: status.code(),
            message: status.message().as_bytes().to_vec(),
            details: status.details().to_vec(),
            headers,
            answers: Vec::new(),
            reason,
            fields,
        }
    }

    /// Whether something was told before it was refused.
    pub(crate) fn is_refused_late(&self) -> bool {
        self.code != Code::Ok && !self.answers.is_empty()
    }

    /// The same with one's ids in place of the other's, which are as long; so what is echoed makes no difference.
    pub(crate) fn renamed(mut self, theirs: &Things, nobodys: &Things) -> Self {
        let headers = self.headers.iter_mut().map(|(_, value)| value);
        for bytes in self.answers.iter_mut().chain(headers).chain([&mut self.message, &mut self.details]) {
            for (thing, id) in theirs {
                replace(bytes, id.as_bytes(), nobodys[thing].as_bytes());
            }
        }
        self
    }
}

fn replace(bytes: &mut [u8], before: &[u8], after: &[u8]) {
    let mut at = 0;
    while let Some(found) = bytes[at..].windows(before.len()).position(|part| part == before) {
        at += found;
        bytes[at..at + before.len()].copy_from_slice(after);
        at += before.len();
    }
}

/// Makes a call.
pub(crate) async fn ask(
    anybody: &Client,
    path: &str,
    rule: &MethodRule,
    caller: &Caller,
    values: &[(&'static str, String)],
) -> Told {
    let mut answers = Vec::new();
    match send(anybody, path, rule, caller.request(message(path, values)), &mut answers).await {
        // A batch is answered with what became of each of its charges.
        Ok(()) if path.ends_with("/BatchCharge") => outcome(&answers[0]),
        Ok(()) => Told::answered(answers),
        // What was told before counts, too.
        Err(status) => Told { answers: Told::answered(answers).answers, ..Told::refused(&status) },
    }
}

/// Makes a call, and notes each of its answers.
async fn send(
    anybody: &Client,
    path: &str,
    rule: &MethodRule,
    request: Request<Bytes>,
    answers: &mut Vec<Bytes>,
) -> Result<(), Status> {
    let mut client = tonic::client::Grpc::new(transport(anybody, path));
    client.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
    let path = path.parse().expect("a path");
    if rule.server_streaming {
        let mut parts = client.server_streaming(request, path, Raw).await?.into_inner();
        while let Some(part) = parts.message().await? {
            answers.push(part);
        }
    } else if rule.client_streaming {
        let request = request.map(|message| stream::iter([message]));
        answers.push(client.client_streaming(request, path, Raw).await?.into_inner());
    } else {
        answers.push(client.unary(request, path, Raw).await?.into_inner());
    }
    Ok(())
}

/// What became of the one charge of a batch.
fn outcome(answer: &Bytes) -> Told {
    let batch = BatchChargeResponse::decode(answer.clone()).expect("a batch's answer");
    match batch.outcomes.into_iter().next().and_then(|outcome| outcome.outcome) {
        Some(Outcome::Status(status)) => {
            let details = Bytes::from(status.encode_to_vec());
            Told::refused(&Status::with_details(Code::from(status.code), status.message, details))
        }
        _ => Told::answered(vec![answer.clone()]),
    }
}

/// A request with these fields, each by its name and those of the messages around it.
fn message(path: &str, values: &[(&'static str, String)]) -> Vec<u8> {
    let mut message = DynamicMessage::new(message_of(path));
    for (field, text) in values {
        set(&mut message, field, text);
    }
    message.encode_to_vec()
}

fn set(message: &mut DynamicMessage, path: &str, text: &str) {
    let (name, inner) = path.split_once('.').map_or((path, None), |(name, inner)| (name, Some(inner)));
    let descriptor = message.descriptor();
    let field = descriptor.get_field_by_name(name).unwrap_or_else(|| panic!("{}: no {name}", descriptor.full_name()));
    let value = match (inner, field.kind()) {
        (Some(inner), Kind::Message(of)) => {
            let mut part = match message.get_field(&field).into_owned() {
                Value::Message(part) if message.has_field(&field) => part,
                Value::List(mut parts) if !parts.is_empty() => match parts.swap_remove(0) {
                    Value::Message(part) => part,
                    other => panic!("{path}: {other:?}"),
                },
                _ => DynamicMessage::new(of),
            };
            set(&mut part, inner, text);
            Value::Message(part)
        }
        (Some(_), _) => panic!("{path}: {name} has no fields"),
        (None, _) => value(&field, text),
    };
    message.set_field(&field, if field.is_list() { Value::List(vec![value]) } else { value });
}

fn value(field: &FieldDescriptor, text: &str) -> Value {
    let number = || -> i32 { text.parse().unwrap_or_else(|_| panic!("{}: {text} is no number", field.full_name())) };
    match field.kind() {
        Kind::String => Value::String(text.to_owned()),
        Kind::Bytes => Value::Bytes(Bytes::copy_from_slice(text.as_bytes())),
        Kind::Bool => Value::Bool(text == "true"),
        Kind::Enum(_) => Value::EnumNumber(number()),
        Kind::Int32 => Value::I32(number()),
        Kind::Int64 => Value::I64(number().into()),
        Kind::Uint32 => Value::U32(number().unsigned_abs()),
        Kind::Uint64 => Value::U64(number().unsigned_abs().into()),
        Kind::Message(of) => Value::Message(DynamicMessage::new(of)),
        other => panic!("{}: say here how {other:?} is written", field.full_name()),
    }
}

/// The fields of an RPC's request that are texts, those of messages in it too.
pub(crate) fn texts(path: &str) -> Vec<String> {
    let mut texts = Vec::new();
    collect(&message_of(path), "", &mut texts);
    texts
}

fn collect(message: &MessageDescriptor, around: &str, texts: &mut Vec<String>) {
    for field in message.fields() {
        let path = format!("{around}{}", field.name());
        match field.kind() {
            Kind::String => texts.push(path),
            Kind::Message(_) if field.is_map() => texts.push(path),
            Kind::Message(inner) if inner.full_name().starts_with("bursar.") => {
                collect(&inner, &format!("{path}."), texts);
            }
            _ => {}
        }
    }
}
