-- Everything identity keeps. The PostgreSQL twin of this file differs in types only.
-- Times are microseconds since 1970 (UTC), ids are text, digests are 32 bytes of SHA-256.

-- email is as its holder wrote it, email_key is case-folded: two spellings are one address.
CREATE TABLE users (
    id                TEXT    NOT NULL PRIMARY KEY,
    email             TEXT    NOT NULL,
    email_key         TEXT    NOT NULL,
    email_verified_at INTEGER,
    password_hash     TEXT    NOT NULL,
    display_name      TEXT    NOT NULL,
    version           INTEGER NOT NULL CHECK (version >= 1),
    created_at        INTEGER NOT NULL,
    updated_at        INTEGER NOT NULL,
    CONSTRAINT users_email_key UNIQUE (email_key)
) STRICT;

-- Who deleted the account: for services that come too late to have been told. Nothing but the id is kept.
CREATE TABLE deleted_users (
    id         TEXT    NOT NULL PRIMARY KEY,
    deleted_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The token itself exists only in the mail. email_key is the address it proves.
CREATE TABLE email_verifications (
    digest     BLOB    NOT NULL PRIMARY KEY CHECK (length(digest) = 32),
    user_id    TEXT    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    email_key  TEXT    NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX email_verifications_user ON email_verifications (user_id);
CREATE INDEX email_verifications_expiry ON email_verifications (expires_at);

-- context is the owner id the session's next access token acts for.
-- user_agent is what the client called itself when its user signed in.
CREATE TABLE sessions (
    id           TEXT    NOT NULL PRIMARY KEY,
    user_id      TEXT    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    context      TEXT    NOT NULL,
    user_agent   TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    last_used_at INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    ended_at     INTEGER,
    end_reason   TEXT CHECK (end_reason IN ('SIGNED_OUT', 'REVOKED', 'TOKEN_REUSED')),
    CHECK ((ended_at IS NULL) = (end_reason IS NULL))
) STRICT;
CREATE INDEX sessions_user ON sessions (user_id, id);
CREATE INDEX sessions_expiry ON sessions (expires_at);
CREATE INDEX sessions_ended ON sessions (ended_at) WHERE ended_at IS NOT NULL;

-- A branch is one chain of rotations; signing in and switching each begin one.
-- authenticated_at and methods say when and by which means the branch's user proved who it is: words as in `amr`.
-- rotated_at is set when a successor took over: from then on the token is only good within the grace.
CREATE TABLE refresh_tokens (
    digest     BLOB    NOT NULL PRIMARY KEY CHECK (length(digest) = 32),
    session_id TEXT    NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    branch     BLOB    NOT NULL CHECK (length(branch) = 16),
    authenticated_at INTEGER NOT NULL,
    methods    TEXT    NOT NULL,
    issued_at  INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    rotated_at INTEGER
) STRICT;
CREATE INDEX refresh_tokens_branch ON refresh_tokens (session_id, branch);
CREATE INDEX refresh_tokens_expiry ON refresh_tokens (expires_at);

-- Attempts are counted by a leaky bucket: the row holds the instant at which it has drained.
CREATE TABLE throttles (
    bucket     TEXT    NOT NULL PRIMARY KEY,
    drained_at INTEGER NOT NULL
) STRICT;
CREATE INDEX throttles_drained ON throttles (drained_at);

-- Replicas agree on keys by the generation: of two that rotate at once, one insert wins.
CREATE TABLE signing_keys (
    generation     INTEGER NOT NULL PRIMARY KEY,
    kid            TEXT    NOT NULL UNIQUE,
    public_key     BLOB    NOT NULL CHECK (length(public_key) = 32),
    sealed_private BLOB    NOT NULL,
    created_at     INTEGER NOT NULL,
    signs_from     INTEGER NOT NULL,
    CHECK (signs_from >= created_at)
) STRICT;

-- id is also the client id. After a secret that comes from a file has changed, the previous one works until
-- previous_until, so that the programs that hold it can be restarted one after the other.
CREATE TABLE service_accounts (
    id               TEXT    NOT NULL PRIMARY KEY,
    display_name     TEXT    NOT NULL,
    role             TEXT    NOT NULL CHECK (role IN ('operator', 'identity', 'organization', 'billing', 'product')),
    secret_digest    BLOB    NOT NULL CHECK (length(secret_digest) = 32),
    previous_digest  BLOB CHECK (length(previous_digest) = 32),
    previous_until   INTEGER,
    created_at       INTEGER NOT NULL,
    rotated_at       INTEGER NOT NULL,
    disabled_at      INTEGER,
    CHECK ((previous_digest IS NULL) = (previous_until IS NULL))
) STRICT;
