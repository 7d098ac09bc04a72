//! Server reflection, v1 and v1alpha, as its specification has it: what is not found is an answer within the stream, which
//! goes on; and extensions, such as the access rule of each RPC, are found like everything else. The library's own service
//! ends the stream and knows no extensions.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use bytes::Bytes;
use futures::StreamExt as _;
use prost::Message as _;
use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto};
use tonic::{Code, Request, Response, Status, Streaming};

use crate::{
    open_streams::{self, Bounds, OpenStream},
    places::Places,
};

/// A request is a name.
const MESSAGE_MAX: usize = 16 * 1024;

/// A tool asks for a few dozen files, one after the other, and goes.
const BOUNDS: Bounds = Bounds { longest: Duration::from_mins(10), idle: Duration::from_mins(1), answers: 1_000 };

/// A set of files, each as the bytes it came in: decoding and encoding again would drop the options that are extensions.
#[derive(Clone, PartialEq, prost::Message)]
struct Files {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    file: Vec<Bytes>,
}

/// Everything that can be asked for.
#[derive(Debug, Default)]
pub(crate) struct Index {
    services: Vec<String>,
    files: HashMap<String, Bytes>,
    symbols: HashMap<String, Bytes>,
    extensions: HashMap<String, HashMap<i32, Bytes>>,
}

impl Index {
    /// Of these sets of files; lists these services and nothing that another port serves.
    pub(crate) fn new(sets: &[&[u8]], services: impl IntoIterator<Item = String>) -> anyhow::Result<Self> {
        let mut index = Self { services: services.into_iter().collect(), ..Self::default() };
        for set in sets {
            for raw in Files::decode(*set).context("a set of descriptors")?.file {
                let file = FileDescriptorProto::decode(raw.clone()).context("a file's descriptor")?;
                index.add(&file, &raw);
            }
        }
        Ok(index)
    }

    fn add(&mut self, file: &FileDescriptorProto, raw: &Bytes) {
        if self.files.contains_key(file.name()) {
            return;
        }
        self.files.insert(file.name().to_owned(), raw.clone());
        let package = file.package();
        for message in &file.message_type {
            self.add_message(package, message, raw);
        }
        for each in &file.enum_type {
            self.add_enum(package, each, raw);
        }
        for extension in &file.extension {
            self.add_extension(package, extension, raw);
        }
        for service in &file.service {
            let name = self.add_symbol(package, service.name(), raw);
            for method in &service.method {
                self.add_symbol(&name, method.name(), raw);
            }
        }
    }

    fn add_symbol(&mut self, scope: &str, name: &str, raw: &Bytes) -> String {
        let name = if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") };
        self.symbols.insert(name.clone(), raw.clone());
        name
    }

    fn add_message(&mut self, scope: &str, message: &DescriptorProto, raw: &Bytes) {
        let name = self.add_symbol(scope, message.name(), raw);
        for field in &message.field {
            self.add_symbol(&name, field.name(), raw);
        }
        for choice in &message.oneof_decl {
            self.add_symbol(&name, choice.name(), raw);
        }
        for extension in &message.extension {
            self.add_extension(&name, extension, raw);
        }
        for each in &message.enum_type {
            self.add_enum(&name, each, raw);
        }
        for nested in &message.nested_type {
            self.add_message(&name, nested, raw);
        }
    }

    fn add_enum(&mut self, scope: &str, each: &EnumDescriptorProto, raw: &Bytes) {
        let name = self.add_symbol(scope, each.name(), raw);
        for value in &each.value {
            // The language puts a value beside its enum; tools ask for it under the enum, too.
            self.add_symbol(&name, value.name(), raw);
            self.add_symbol(scope, value.name(), raw);
        }
    }

    fn add_extension(&mut self, scope: &str, extension: &FieldDescriptorProto, raw: &Bytes) {
        self.add_symbol(scope, extension.name(), raw);
        let of = extension.extendee().trim_start_matches('.').to_owned();
        self.extensions.entry(of).or_default().insert(extension.number(), raw.clone());
    }

    /// The numbers of the extensions of a message, if there is such a message.
    fn numbers(&self, of: &str) -> Option<Vec<i32>> {
        let known = self.extensions.get(of);
        if known.is_none() && !self.symbols.contains_key(of) {
            return None;
        }
        let numbers: BTreeSet<i32> = known.into_iter().flat_map(HashMap::keys).copied().collect();
        Some(numbers.into_iter().collect())
    }
}

/// Answers out of an index, to so many at a time.
#[derive(Clone)]
pub(crate) struct Reflection {
    index: Arc<Index>,
    streams: Places,
}

impl Reflection {
    pub(crate) fn new(index: Arc<Index>, streams: Places) -> Self {
        Self { index, streams }
    }
}

/// The two versions of the protocol have the same messages in two packages.
macro_rules! reflection {
    ($version:ident) => {
        /// One version of the protocol.
        pub(crate) mod $version {
            use tonic_reflection::pb::$version::{
                ErrorResponse, ExtensionNumberResponse, FileDescriptorResponse, ListServiceResponse,
                ServerReflectionRequest, ServerReflectionResponse, ServiceResponse,
                server_reflection_request::MessageRequest,
                server_reflection_response::MessageResponse,
                server_reflection_server::{ServerReflection, ServerReflectionServer},
            };

            use super::*;

            pub(crate) fn server(reflection: Reflection) -> ServerReflectionServer<Reflection> {
                ServerReflectionServer::new(reflection).max_decoding_message_size(MESSAGE_MAX)
            }

            type Answers = OpenStream<ServerReflectionResponse>;

            #[tonic::async_trait]
            impl ServerReflection for Reflection {
                type ServerReflectionInfoStream = Answers;

                async fn server_reflection_info(
                    &self,
                    requests: Request<Streaming<ServerReflectionRequest>>,
                ) -> Result<Response<Answers>, Status> {
                    let place = open_streams::enter(&self.streams, &requests)?;
                    let index = Arc::clone(&self.index);
                    let answers = requests.into_inner().map(move |request| request.map(|asked| answer(&index, asked)));
                    Ok(Response::new(open_streams::bounded(answers, BOUNDS, place)))
                }
            }

            fn answer(index: &Index, asked: ServerReflectionRequest) -> ServerReflectionResponse {
                ServerReflectionResponse {
                    valid_host: asked.host.clone(),
                    message_response: Some(find(index, asked.message_request.as_ref())),
                    original_request: Some(asked),
                }
            }

            fn find(index: &Index, asked: Option<&MessageRequest>) -> MessageResponse {
                let file = |raw: Option<&Bytes>, what| match raw {
                    Some(raw) => {
                        let file_descriptor_proto = vec![raw.to_vec()];
                        MessageResponse::FileDescriptorResponse(FileDescriptorResponse { file_descriptor_proto })
                    }
                    None => refused(Code::NotFound, what),
                };
                match asked {
                    None => refused(Code::InvalidArgument, "the request asks for nothing"),
                    Some(MessageRequest::FileByFilename(name)) => file(index.files.get(name), "no such file"),
                    Some(MessageRequest::FileContainingSymbol(name)) => {
                        file(index.symbols.get(name.trim_start_matches('.')), "no such symbol")
                    }
                    Some(MessageRequest::FileContainingExtension(asked)) => {
                        let of = index.extensions.get(asked.containing_type.trim_start_matches('.'));
                        file(of.and_then(|of| of.get(&asked.extension_number)), "no such extension")
                    }
                    Some(MessageRequest::AllExtensionNumbersOfType(name)) => {
                        match index.numbers(name.trim_start_matches('.')) {
                            Some(extension_number) => {
                                let base_type_name = name.clone();
                                let found = ExtensionNumberResponse { base_type_name, extension_number };
                                MessageResponse::AllExtensionNumbersResponse(found)
                            }
                            None => refused(Code::NotFound, "no such message"),
                        }
                    }
                    Some(MessageRequest::ListServices(_)) => {
                        let service = index.services.iter().cloned().map(|name| ServiceResponse { name }).collect();
                        MessageResponse::ListServicesResponse(ListServiceResponse { service })
                    }
                }
            }

            fn refused(code: Code, sentence: &str) -> MessageResponse {
                let error = ErrorResponse { error_code: code.into(), error_message: sentence.to_owned() };
                MessageResponse::ErrorResponse(error)
            }
        }
    };
}

reflection!(v1);
reflection!(v1alpha);
