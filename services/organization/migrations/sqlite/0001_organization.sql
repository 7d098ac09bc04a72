-- Everything organization keeps. The PostgreSQL twin of this file differs in types, and in where constraints are written.
-- Times are microseconds since 1970 (UTC), ids are text, digests are 32 bytes of SHA-256.

-- People, as identity's events told of them: what they are called, and whether they are gone.
CREATE TABLE users (
    id           TEXT NOT NULL PRIMARY KEY,
    display_name TEXT NOT NULL,
    deleted_at   INTEGER
) STRICT;

-- Every slug that an organization has or had: it stays taken, and leads there.
CREATE TABLE slugs (
    slug            TEXT NOT NULL PRIMARY KEY,
    organization_id TEXT NOT NULL REFERENCES organizations (id) DEFERRABLE INITIALLY DEFERRED,
    taken_at        INTEGER NOT NULL,
    CONSTRAINT slugs_organization UNIQUE (organization_id, slug)
) STRICT, WITHOUT ROWID;

-- Exactly one owner, at every commit: the deferred key demands that the owner is a member with the role OWNER now,
-- and memberships_one_owner that nobody else is. owner_role is a constant that the key needs.
-- version counts the changes to the row: the etag.
CREATE TABLE organizations (
    id            TEXT NOT NULL PRIMARY KEY,
    name          TEXT NOT NULL,
    slug          TEXT NOT NULL,
    owner_user_id TEXT NOT NULL,
    owner_role    TEXT NOT NULL DEFAULT 'OWNER' CHECK (owner_role = 'OWNER'),
    version       INTEGER NOT NULL CHECK (version >= 1),
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL,
    CONSTRAINT organizations_slug_taken FOREIGN KEY (id, slug)
        REFERENCES slugs (organization_id, slug) DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT organizations_owner FOREIGN KEY (id, owner_user_id, owner_role)
        REFERENCES memberships (organization_id, user_id, role) DEFERRABLE INITIALLY DEFERRED
) STRICT;

-- A row stays when somebody leaves, so that version goes on growing when they come back. role is NULL for whoever is
-- not a member any more. email is the address at the (last) joining, email_key the same case-folded.
CREATE TABLE memberships (
    organization_id TEXT NOT NULL REFERENCES organizations (id),
    user_id         TEXT NOT NULL REFERENCES users (id),
    role            TEXT CHECK (role IN ('OWNER', 'ADMIN', 'MEMBER')),
    state           TEXT NOT NULL CHECK (state IN ('ACTIVE', 'LEFT', 'REMOVED', 'DELETED')),
    email           TEXT NOT NULL,
    email_key       TEXT NOT NULL,
    version         INTEGER NOT NULL CHECK (version >= 1),
    joined_at       INTEGER NOT NULL,
    changed_at      INTEGER NOT NULL,
    PRIMARY KEY (organization_id, user_id),
    CONSTRAINT memberships_role UNIQUE (organization_id, user_id, role),
    CHECK ((state = 'ACTIVE') = (role IS NOT NULL))
) STRICT;
CREATE UNIQUE INDEX memberships_one_owner ON memberships (organization_id) WHERE role = 'OWNER';
CREATE INDEX memberships_user ON memberships (user_id) WHERE role IS NOT NULL;
CREATE INDEX memberships_joined ON memberships (organization_id, joined_at, user_id) WHERE role IS NOT NULL;
CREATE INDEX memberships_email ON memberships (organization_id, email_key) WHERE role IS NOT NULL;

-- The token itself exists only in the mail. A PENDING row past expires_at is expired, whether or not that is written.
-- lifetime is how long one mail's token lives. email_key is the address case-folded.
CREATE TABLE invitations (
    id              TEXT NOT NULL PRIMARY KEY,
    organization_id TEXT NOT NULL REFERENCES organizations (id),
    email           TEXT NOT NULL,
    email_key       TEXT NOT NULL,
    role            TEXT NOT NULL CHECK (role IN ('ADMIN', 'MEMBER')),
    state           TEXT NOT NULL CHECK (state IN ('PENDING', 'ACCEPTED', 'DECLINED', 'REVOKED', 'EXPIRED')),
    token_digest    BLOB NOT NULL CHECK (length(token_digest) = 32),
    lifetime        INTEGER NOT NULL CHECK (lifetime > 0),
    invited_by      TEXT NOT NULL,
    accepted_by     TEXT,
    created_at      INTEGER NOT NULL,
    expires_at      INTEGER NOT NULL,
    CONSTRAINT invitations_token UNIQUE (token_digest),
    CHECK ((state = 'ACCEPTED') = (accepted_by IS NOT NULL))
) STRICT;
CREATE INDEX invitations_organization ON invitations (organization_id, id);
CREATE UNIQUE INDEX invitations_one_pending ON invitations (organization_id, email_key) WHERE state = 'PENDING';
CREATE INDEX invitations_pending ON invitations (organization_id, expires_at) WHERE state = 'PENDING';

-- How many invitations an organization mailed at an instant; rows older than a day are of no use.
CREATE TABLE invitation_mails (
    organization_id TEXT NOT NULL REFERENCES organizations (id),
    sent_at         INTEGER NOT NULL,
    mails           INTEGER NOT NULL CHECK (mails >= 1),
    PRIMARY KEY (organization_id, sent_at)
) STRICT, WITHOUT ROWID;

-- owner is a context: usr_… or org_…. created_by and assigned_to may have left.
CREATE TABLE projects (
    id          TEXT NOT NULL PRIMARY KEY,
    owner       TEXT NOT NULL,
    name        TEXT NOT NULL,
    description TEXT NOT NULL,
    created_by  TEXT NOT NULL,
    assigned_to TEXT NOT NULL,
    version     INTEGER NOT NULL CHECK (version >= 1),
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX projects_owner ON projects (owner, id);
