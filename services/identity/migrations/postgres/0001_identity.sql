-- Everything identity keeps. The SQLite twin of this file differs in types only.
-- Times are microseconds since 1970 (UTC), ids are text, digests are 32 bytes of SHA-256.

-- email is as its holder wrote it, email_key is case-folded: two spellings are one address.
CREATE TABLE users (
    id                TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    email             TEXT COLLATE "C" NOT NULL,
    email_key         TEXT COLLATE "C" NOT NULL,
    email_verified_at BIGINT,
    password_hash     TEXT COLLATE "C" NOT NULL,
    display_name      TEXT COLLATE "C" NOT NULL,
    version           BIGINT NOT NULL CHECK (version >= 1),
    created_at        BIGINT NOT NULL,
    updated_at        BIGINT NOT NULL,
    CONSTRAINT users_email_key UNIQUE (email_key)
);

-- Who deleted the account: for services that come too late to have been told. Nothing but the id is kept.
CREATE TABLE deleted_users (
    id         TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    deleted_at BIGINT NOT NULL
);

-- The token itself exists only in the mail. email_key is the address it proves.
CREATE TABLE email_verifications (
    digest     BYTEA NOT NULL PRIMARY KEY CHECK (length(digest) = 32),
    user_id    TEXT COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    email_key  TEXT COLLATE "C" NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX email_verifications_user ON email_verifications (user_id);
CREATE INDEX email_verifications_expiry ON email_verifications (expires_at);

-- context is the owner id the session's next access token acts for.
-- user_agent is what the client called itself when its user signed in.
CREATE TABLE sessions (
    id           TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    user_id      TEXT COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    context      TEXT COLLATE "C" NOT NULL,
    user_agent   TEXT COLLATE "C" NOT NULL,
    created_at   BIGINT NOT NULL,
    last_used_at BIGINT NOT NULL,
    expires_at   BIGINT NOT NULL,
    ended_at     BIGINT,
    end_reason   TEXT COLLATE "C" CHECK (end_reason IN ('SIGNED_OUT', 'REVOKED', 'TOKEN_REUSED')),
    CHECK ((ended_at IS NULL) = (end_reason IS NULL))
);
CREATE INDEX sessions_user ON sessions (user_id, id);
CREATE INDEX sessions_expiry ON sessions (expires_at);
CREATE INDEX sessions_ended ON sessions (ended_at) WHERE ended_at IS NOT NULL;

-- A branch is one chain of rotations; signing in and switching each begin one.
-- authenticated_at and methods say when and by which means the branch's user proved who it is: words as in `amr`.
-- rotated_at is set when a successor took over: from then on the token is only good within the grace.
CREATE TABLE refresh_tokens (
    digest     BYTEA NOT NULL PRIMARY KEY CHECK (length(digest) = 32),
    session_id TEXT COLLATE "C" NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    branch     BYTEA NOT NULL CHECK (length(branch) = 16),
    authenticated_at BIGINT NOT NULL,
    methods    TEXT NOT NULL,
    issued_at  BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    rotated_at BIGINT
);
CREATE INDEX refresh_tokens_branch ON refresh_tokens (session_id, branch);
CREATE INDEX refresh_tokens_expiry ON refresh_tokens (expires_at);

-- Attempts are counted by a leaky bucket: the row holds the instant at which it has drained.
CREATE TABLE throttles (
    bucket     TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    drained_at BIGINT NOT NULL
);
CREATE INDEX throttles_drained ON throttles (drained_at);

-- Replicas agree on keys by the generation: of two that rotate at once, one insert wins.
CREATE TABLE signing_keys (
    generation     BIGINT NOT NULL PRIMARY KEY,
    kid            TEXT COLLATE "C" NOT NULL UNIQUE,
    public_key     BYTEA NOT NULL CHECK (length(public_key) = 32),
    sealed_private BYTEA NOT NULL,
    created_at     BIGINT NOT NULL,
    signs_from     BIGINT NOT NULL,
    CHECK (signs_from >= created_at)
);

-- id is also the client id. After a secret that comes from a file has changed, the previous one works until
-- previous_until, so that the programs that hold it can be restarted one after the other.
CREATE TABLE service_accounts (
    id               TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    display_name     TEXT COLLATE "C" NOT NULL,
    role             TEXT COLLATE "C" NOT NULL CHECK (role IN ('operator', 'identity', 'organization', 'billing', 'product')),
    secret_digest    BYTEA NOT NULL CHECK (length(secret_digest) = 32),
    previous_digest  BYTEA CHECK (length(previous_digest) = 32),
    previous_until   BIGINT,
    created_at       BIGINT NOT NULL,
    rotated_at       BIGINT NOT NULL,
    disabled_at      BIGINT,
    CHECK ((previous_digest IS NULL) = (previous_until IS NULL))
);
