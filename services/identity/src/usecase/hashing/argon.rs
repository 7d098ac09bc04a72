//! Argon2id in memory that somebody else owns, and the PHC strings that are stored.

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};

use crate::Error;

/// OWASP's Password Storage Cheat Sheet, Argon2id: m = 19 MiB, t = 2, p = 1.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;
const OUTPUT_BYTES: usize = 32;
/// The most memory that a stored hash may ask for: no more than its place is worth.
pub(super) const MOST_MEMORY_KIB: u32 = 4 * MEMORY_KIB;
/// The most work that a stored hash may ask for, in KiB passed: eight of today's, so that a place is held no longer than by as
/// many who wait for one.
const MOST_WORK: u32 = 8 * MEMORY_KIB * PASSES;

/// The PHC string of a password.
pub(super) fn hash(password: &[u8], salt: &[u8], blocks: &mut Vec<Block>) -> Result<String, Error> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, Some(OUTPUT_BYTES)).map_err(Error::internal)?;
    let text = ParamsString::try_from(&params).map_err(Error::internal)?;
    let output = compute(Algorithm::Argon2id, Version::V0x13, params, (password, salt), blocks)?;
    let hash = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: text,
        salt: Some(Salt::new(salt).map_err(Error::internal)?),
        hash: Some(output),
    };
    Ok(hash.to_string())
}

/// Whether the password is the one behind a PHC string, and whether that is weaker than [`hash`] would make it.
pub(super) fn verify(password: &[u8], stored: &str, blocks: &mut Vec<Block>) -> Result<(bool, bool), Error> {
    let malformed = || Error::internal("a stored password hash is malformed");
    let stored = PasswordHash::new(stored).map_err(|_| malformed())?;
    let algorithm = Algorithm::try_from(stored.algorithm.as_str()).map_err(|_| malformed())?;
    let version = stored.version.map_or(Ok(Version::default()), Version::try_from).map_err(|_| malformed())?;
    let params = Params::try_from(&stored).map_err(|_| malformed())?;
    let (Some(salt), Some(expected)) = (&stored.salt, &stored.hash) else { return Err(malformed()) };
    if params.m_cost() > MOST_MEMORY_KIB {
        return Err(Error::internal("a stored password hash asks for more memory than any may take"));
    }
    if params.m_cost().saturating_mul(params.t_cost()) > MOST_WORK {
        return Err(Error::internal("a stored password hash asks for more time than any may take"));
    }
    let weak = algorithm != Algorithm::Argon2id
        || version != Version::V0x13
        || params.m_cost() < MEMORY_KIB
        || params.t_cost() < PASSES
        || expected.len() < OUTPUT_BYTES;
    let output = compute(algorithm, version, params, (password, salt.as_ref()), blocks)?;
    // Compares in constant time.
    Ok((output == *expected, weak))
}

fn compute(
    algorithm: Algorithm,
    version: Version,
    params: Params,
    (password, salt): (&[u8], &[u8]),
    blocks: &mut Vec<Block>,
) -> Result<Output, Error> {
    let (needed, length) = (params.block_count(), params.output_len().unwrap_or(OUTPUT_BYTES));
    if blocks.len() < needed {
        blocks.resize(needed, Block::new());
    }
    let memory = blocks.get_mut(..needed).ok_or_else(|| Error::internal("no memory to hash in"))?;
    let mut output = [0; Output::MAX_LENGTH];
    let output = output.get_mut(..length).ok_or_else(|| Error::internal("a password hash of no known length"))?;
    let argon = Argon2::new(algorithm, version, params);
    argon.hash_password_into_with_memory(password, salt, output, memory).map_err(Error::internal)?;
    Output::new(output).map_err(Error::internal)
}

/// The blocks of one hash by today's parameters.
pub(super) const BLOCKS: usize = MEMORY_KIB as usize;

#[cfg(test)]
pub(super) fn weak(password: &[u8], salt: &[u8]) -> String {
    let params = Params::new(8, 1, 1, Some(OUTPUT_BYTES)).expect("parameters");
    let text = ParamsString::try_from(&params).expect("parameters");
    let output = compute(Algorithm::Argon2i, Version::V0x10, params, (password, salt), &mut Vec::new());
    let (salt, hash) = (Salt::new(salt).ok(), output.ok());
    let (algorithm, version) = (Algorithm::Argon2i.ident(), Some(Version::V0x10.into()));
    PasswordHash { algorithm, version, params: text, salt, hash }.to_string()
}
