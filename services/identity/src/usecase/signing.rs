//! The signing keys at work: rotation through the database, and tokens signed with the key whose time it is.
//!
//! One replica rotates every [`LOOK_AGAIN`], and each, which holds a ring of the keys in the database, loads it again. A key is
//! published long before it signs (`domain/keys.rs`), so a ring that is a little old signs with nothing
//! that anybody does not know.

use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bursar_db::Db;
use bursar_rpc::keys::PublicKeys;
use bursar_secret::{Entropy, Sealer};
use bursar_time::{Clock, Span, Timestamp};
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePrivateKey as _;
use jsonwebtoken::EncodingKey;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tokio::sync::{Mutex, watch};

use crate::Error;
use crate::domain::keys::{KeyPolicy, KeySpan, rotation, signer};
use crate::store::keys::{self, KeyRow};

/// How often the keys are looked after: one replica rotates what is due, each looks for keys that another one made.
pub const LOOK_AGAIN: Span = Span::from_secs(30);

/// What seals are bound to, so that no other sealed value can stand in for a key.
const SEAL_CONTEXT: &str = "identity signing key ";

/// Signs tokens and publishes the keys that verify them. Cheap to clone.
#[derive(Clone)]
pub struct Signer(Arc<Inner>);

struct Inner {
    db: Db,
    clock: Clock,
    entropy: Entropy,
    sealer: Sealer,
    policy: KeyPolicy,
    ring: RwLock<Arc<Vec<RingKey>>>,
    public: watch::Sender<PublicKeys>,
    /// Held by whoever rotates or looks again.
    turn: Mutex<()>,
}

/// One key of the ring, ready to sign.
#[derive(Clone)]
pub struct RingKey {
    span: KeySpan,
    kid: String,
    public_key: [u8; 32],
    encoding: EncodingKey,
}

impl RingKey {
    /// Signs claims.
    pub fn sign<C: Serialize>(&self, claims: &C) -> Result<String, Error> {
        bursar_rpc::token::sign(&self.encoding, &self.kid, claims).map_err(Error::internal)
    }

    /// The id that tokens name the key by.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The Ed25519 public key.
    pub fn public_key(&self) -> &[u8; 32] {
        &self.public_key
    }
}

impl Signer {
    /// Loads the keys, making the first one if there is none.
    pub async fn open(
        db: Db,
        clock: Clock,
        entropy: Entropy,
        sealer: Sealer,
        policy: KeyPolicy,
    ) -> Result<Self, Error> {
        let (public, _) = watch::channel(PublicKeys::default());
        let ring = RwLock::default();
        let signer = Self(Arc::new(Inner { db, clock, entropy, sealer, policy, ring, public, turn: Mutex::default() }));
        signer.look_again().await?;
        Ok(signer)
    }

    /// The key that signs now; rotates first when that is due.
    pub async fn current(&self) -> Result<RingKey, Error> {
        self.published().await?;
        self.at_hand(self.0.clock.now())
    }

    /// The key of the ring whose time it is; without a look at the database.
    pub fn at_hand(&self, now: Timestamp) -> Result<RingKey, Error> {
        let ring = self.ring();
        let spans: Vec<KeySpan> = ring.iter().map(|key| key.span).collect();
        let chosen = signer(&spans, now).ok_or_else(|| Error::internal("there is no signing key"))?;
        let found = ring.iter().find(|key| key.span == chosen).cloned();
        found.ok_or_else(|| Error::internal("the signing key is not in the ring"))
    }

    /// Every key that a valid token may be or may soon be signed with, the newest first.
    pub async fn published(&self) -> Result<Vec<RingKey>, Error> {
        let spans: Vec<KeySpan> = self.ring().iter().map(|key| key.span).collect();
        if !rotation(&spans, &self.0.policy, self.0.clock.now()).is_idle() {
            self.look_again().await?;
        }
        Ok(self.ring().iter().rev().cloned().collect())
    }

    /// Follows the public keys, for verifying tokens in this process.
    pub fn subscribe(&self) -> watch::Receiver<PublicKeys> {
        self.0.public.subscribe()
    }

    fn ring(&self) -> Arc<Vec<RingKey>> {
        Arc::clone(&self.0.ring.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Does what the rotation needs and loads the keys that are there then.
    pub async fn look_again(&self) -> Result<(), Error> {
        let _turn = self.0.turn.lock().await;
        let now = self.0.clock.now();
        let mut tx = self.0.db.read().await?;
        let mut rows = keys::all(&mut tx).await?;
        drop(tx);
        let todo = rotation(&spans_of(&rows), &self.0.policy, now);
        // A clock that is wrong makes no key too early, and takes away none that others' tokens are signed with. But where
        // there is none at all, nobody could say so.
        let decides = rows.is_empty() || self.0.clock.believed().is_ok();
        if decides && !todo.is_idle() {
            let mut tx = self.0.db.begin().await?;
            if let Some(span) = todo.create {
                // Another replica may have been faster with this generation: then its key is the key.
                let made = keys::insert(&mut tx, &self.make(span, now)).await?;
                tracing::info!(generation = span.generation, made, "rotating the signing keys");
            }
            for generation in todo.retire {
                keys::delete(&mut tx, generation).await?;
            }
            rows = keys::all(&mut tx).await?;
            tx.commit().await?;
        }
        self.load(&rows)
    }

    /// Loads the keys that are there, whoever made them.
    pub async fn load_again(&self) -> Result<(), Error> {
        let _turn = self.0.turn.lock().await;
        let mut tx = self.0.db.read().await?;
        let rows = keys::all(&mut tx).await?;
        drop(tx);
        self.load(&rows)
    }

    fn make(&self, span: KeySpan, now: Timestamp) -> KeyRow {
        let seed = self.0.entropy.bytes::<32>();
        let public_key = SigningKey::from_bytes(&seed).verifying_key().to_bytes();
        let kid = URL_SAFE_NO_PAD.encode(&Sha256::digest(public_key)[..12]);
        let sealed_private = self.0.sealer.seal(&self.0.entropy, &seed, &context(&kid));
        KeyRow {
            generation: span.generation,
            kid,
            public_key: public_key.to_vec(),
            sealed_private,
            created_at: now,
            signs_from: span.signs_from,
        }
    }

    fn load(&self, rows: &[KeyRow]) -> Result<(), Error> {
        let known = self.ring();
        let ring = rows
            .iter()
            .map(|row| match known.iter().find(|key| key.kid == row.kid) {
                Some(key) => Ok(key.clone()),
                None => self.unseal(row),
            })
            .collect::<Result<Vec<_>, Error>>()?;
        let public = PublicKeys::new(ring.iter().map(|key| (key.kid.clone(), key.public_key)));
        *self.0.ring.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(ring);
        self.0.public.send_replace(public);
        Ok(())
    }

    fn unseal(&self, row: &KeyRow) -> Result<RingKey, Error> {
        let refused = || {
            Error::internal(format!(
                "signing key {} cannot be opened: is this the master key that the store was made with?",
                row.kid
            ))
        };
        let seed = self.0.sealer.open(&row.sealed_private, &context(&row.kid)).map_err(|_| refused())?;
        let seed: [u8; 32] = seed.expose().as_slice().try_into().map_err(|_| refused())?;
        let key = SigningKey::from_bytes(&seed);
        let public_key = key.verifying_key().to_bytes();
        if public_key.as_slice() != row.public_key {
            return Err(refused());
        }
        let der = key.to_pkcs8_der().map_err(Error::internal)?;
        Ok(RingKey {
            span: KeySpan { generation: row.generation, signs_from: row.signs_from },
            kid: row.kid.clone(),
            public_key,
            encoding: EncodingKey::from_ed_der(der.as_bytes()),
        })
    }
}

fn spans_of(rows: &[KeyRow]) -> Vec<KeySpan> {
    rows.iter().map(|row| KeySpan { generation: row.generation, signs_from: row.signs_from }).collect()
}

fn context(kid: &str) -> Vec<u8> {
    format!("{SEAL_CONTEXT}{kid}").into_bytes()
}
