//! What a mutating call asks ([`Asked`]), by whom ([`Call`]), and what is kept of its outcome for a repetition
//! ([`Stored`], [`Kept`]). How it is carried out is [`crate::Mutations`]' part.

use bursar_id::RequestId;
use prost::Message;
use tonic::{Request, Status};

use crate::{Caller, IdempotencyKey, Problem, UserCaller, Violations};

/// The RPC that a request is for; put there by the stack.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Serving(pub(crate) &'static str);

/// A call: who makes it, and which RPC it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub(crate) caller: Caller,
    pub(crate) method: &'static str,
}

impl Call {
    /// The call that a request makes. An error only if the handler is served without the stack.
    pub fn of<T>(request: &Request<T>) -> Result<Self, Status> {
        let caller = Caller::of(request)?;
        let serving = request.extensions().get::<Serving>();
        let Serving(method) =
            serving.ok_or_else(|| Problem::internal(&"a handler is served without the authentication layer"))?;
        Ok(Self { caller, method })
    }

    /// A call by `caller` of the RPC `method`, for work that no request began.
    pub fn new(caller: Caller, method: &'static str) -> Self {
        Self { caller, method }
    }

    /// Who calls.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Which RPC: `bursar.billing.v1.CreditService/GrantCredits`.
    pub fn method(&self) -> &'static str {
        self.method
    }
}

/// A mutating request as it was parsed. Its flaws are told only to a caller whose standing allows to ask
/// ([`crate::Mutation::open`]): nobody learns from a bad field what is not theirs.
#[derive(Clone, Debug)]
pub struct Asked<C> {
    pub(crate) call: Call,
    pub(crate) read: Result<(IdempotencyKey, C), Problem>,
    pub(crate) by_token: bool,
}

impl<C> Asked<C> {
    /// Reads a request. `message` is the request without its `request_id` (take that out first; an RPC that has none
    /// gives an empty text); `parse` notes its bad fields and gives what it asks for, if nothing is wrong.
    pub fn read<M: Message>(
        call: Call,
        request_id: &str,
        message: &M,
        parse: impl FnOnce(&M, &mut Violations) -> Option<C>,
    ) -> Self {
        let mut violations = Violations::new();
        let command = parse(message, &mut violations);
        violations.check_optional("request_id", request_id, |text| RequestId::parse(text));
        let read = match (command, violations.is_empty()) {
            (Some(command), true) => {
                IdempotencyKey::new(&call.caller, call.method, request_id, message).map(|key| (key, command))
            }
            _ => Err(violations.into_problem()),
        };
        Self { call, read, by_token: false }
    }

    /// Reads a request by a single-use token: who repeats it gets the first answer, whoever calls.
    pub fn by_token<M: Message>(call: Call, token: &str, message: &M, command: C) -> Self {
        let key = IdempotencyKey::of_token(call.method, token, message);
        Self { call, read: Ok((key, command)), by_token: true }
    }

    /// What was asked, for an RPC at which everybody stands alike (sign-up, sign-in) and that has work to do before it
    /// begins to change anything.
    pub fn command(&self) -> Result<&C, Problem> {
        self.read.as_ref().map(|(_, command)| command).map_err(Problem::clone)
    }

    /// Who asks.
    pub fn caller(&self) -> &Caller {
        &self.call.caller
    }

    /// The person who asks, or for whom a service asks.
    pub fn user(&self) -> Result<&UserCaller, Problem> {
        self.call.caller.user()
    }

    /// What a row keeps for ever of this request and of the outcome that it makes; `None` for a request without an id.
    pub fn keep<T: Stored>(&self, outcome: &T) -> Option<Kept> {
        let key = self.key()?;
        let answer = outcome.to_message().encode_to_vec();
        Some(Kept { request: key.digest()?, body_hash: *key.body_hash(), answer })
    }

    /// The request's key, if it is well-formed.
    pub fn key(&self) -> Option<&IdempotencyKey> {
        self.read.as_ref().ok().map(|(key, _)| key)
    }
}

/// What stands beside a purchase or a subscription for ever, where answers to requests are forgotten after a month: a
/// repetition forty days later still gets the first answer ([`crate::Mutation::recall`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Who asked and under which id ([`IdempotencyKey::digest`]).
    pub request: [u8; 16],
    /// What was asked.
    pub body_hash: [u8; 32],
    /// What was answered.
    pub answer: Vec<u8>,
}

/// What is kept of a use case's outcome for a repetition; implemented in `grpc/`, which makes the answer of it.
///
/// What is kept forgets what is shown only once (a secret).
pub trait Stored {
    /// The message that is kept.
    type Message: Message + Default;
    /// The outcome as it is kept.
    fn to_message(&self) -> Self::Message;
    /// The same as it lies in the store.
    fn to_bytes(&self) -> Vec<u8> {
        self.to_message().encode_to_vec()
    }
}

/// An outcome that says nothing but that it came about.
impl Stored for () {
    type Message = ();
    fn to_message(&self) {}
}
