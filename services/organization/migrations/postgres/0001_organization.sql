-- Everything organization keeps. The SQLite twin of this file differs in types, and in where constraints are written.
-- Times are microseconds since 1970 (UTC), ids are text, digests are 32 bytes of SHA-256.

-- People, as identity's events told of them: what they are called, and whether they are gone.
CREATE TABLE users (
    id           TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    display_name TEXT COLLATE "C" NOT NULL,
    deleted_at   BIGINT
);

-- Every slug that an organization has or had: it stays taken, and leads there.
CREATE TABLE slugs (
    slug            TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    organization_id TEXT COLLATE "C" NOT NULL,
    taken_at        BIGINT NOT NULL,
    CONSTRAINT slugs_organization UNIQUE (organization_id, slug)
);

-- Exactly one owner, at every commit: the deferred key demands that the owner is a member with the role OWNER now,
-- and memberships_one_owner that nobody else is. owner_role is a constant that the key needs.
-- version counts the changes to the row: the etag.
CREATE TABLE organizations (
    id            TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    name          TEXT COLLATE "C" NOT NULL,
    slug          TEXT COLLATE "C" NOT NULL,
    owner_user_id TEXT COLLATE "C" NOT NULL,
    owner_role    TEXT COLLATE "C" NOT NULL DEFAULT 'OWNER' CHECK (owner_role = 'OWNER'),
    version       BIGINT NOT NULL CHECK (version >= 1),
    created_at    BIGINT NOT NULL,
    updated_at    BIGINT NOT NULL
);

-- A row stays when somebody leaves, so that version goes on growing when they come back. role is NULL for whoever is
-- not a member any more. email is the address at the (last) joining, email_key the same case-folded.
CREATE TABLE memberships (
    organization_id TEXT COLLATE "C" NOT NULL REFERENCES organizations (id),
    user_id         TEXT COLLATE "C" NOT NULL REFERENCES users (id),
    role            TEXT COLLATE "C" CHECK (role IN ('OWNER', 'ADMIN', 'MEMBER')),
    state           TEXT COLLATE "C" NOT NULL CHECK (state IN ('ACTIVE', 'LEFT', 'REMOVED', 'DELETED')),
    email           TEXT COLLATE "C" NOT NULL,
    email_key       TEXT COLLATE "C" NOT NULL,
    version         BIGINT NOT NULL CHECK (version >= 1),
    joined_at       BIGINT NOT NULL,
    changed_at      BIGINT NOT NULL,
    PRIMARY KEY (organization_id, user_id),
    CONSTRAINT memberships_role UNIQUE (organization_id, user_id, role),
    CHECK ((state = 'ACTIVE') = (role IS NOT NULL))
);
CREATE UNIQUE INDEX memberships_one_owner ON memberships (organization_id) WHERE role = 'OWNER';
CREATE INDEX memberships_user ON memberships (user_id) WHERE role IS NOT NULL;
CREATE INDEX memberships_joined ON memberships (organization_id, joined_at, user_id) WHERE role IS NOT NULL;
CREATE INDEX memberships_email ON memberships (organization_id, email_key) WHERE role IS NOT NULL;

-- What SQLite says with the tables; they refer to one another.
ALTER TABLE slugs ADD CONSTRAINT slugs_owner FOREIGN KEY (organization_id)
    REFERENCES organizations (id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE organizations ADD CONSTRAINT organizations_slug_taken FOREIGN KEY (id, slug)
    REFERENCES slugs (organization_id, slug) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE organizations ADD CONSTRAINT organizations_owner FOREIGN KEY (id, owner_user_id, owner_role)
    REFERENCES memberships (organization_id, user_id, role) DEFERRABLE INITIALLY DEFERRED;

-- The token itself exists only in the mail. A PENDING row past expires_at is expired, whether or not that is written.
-- lifetime is how long one mail's token lives. email_key is the address case-folded.
CREATE TABLE invitations (
    id              TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    organization_id TEXT COLLATE "C" NOT NULL REFERENCES organizations (id),
    email           TEXT COLLATE "C" NOT NULL,
    email_key       TEXT COLLATE "C" NOT NULL,
    role            TEXT COLLATE "C" NOT NULL CHECK (role IN ('ADMIN', 'MEMBER')),
    state           TEXT COLLATE "C" NOT NULL CHECK (state IN ('PENDING', 'ACCEPTED', 'DECLINED', 'REVOKED', 'EXPIRED')),
    token_digest    BYTEA NOT NULL CHECK (length(token_digest) = 32),
    lifetime        BIGINT NOT NULL CHECK (lifetime > 0),
    invited_by      TEXT COLLATE "C" NOT NULL,
    accepted_by     TEXT COLLATE "C",
    created_at      BIGINT NOT NULL,
    expires_at      BIGINT NOT NULL,
    CONSTRAINT invitations_token UNIQUE (token_digest),
    CHECK ((state = 'ACCEPTED') = (accepted_by IS NOT NULL))
);
CREATE INDEX invitations_organization ON invitations (organization_id, id);
CREATE UNIQUE INDEX invitations_one_pending ON invitations (organization_id, email_key) WHERE state = 'PENDING';
CREATE INDEX invitations_pending ON invitations (organization_id, expires_at) WHERE state = 'PENDING';

-- How many invitations an organization mailed at an instant; rows older than a day are of no use.
CREATE TABLE invitation_mails (
    organization_id TEXT COLLATE "C" NOT NULL REFERENCES organizations (id),
    sent_at         BIGINT NOT NULL,
    mails           BIGINT NOT NULL CHECK (mails >= 1),
    PRIMARY KEY (organization_id, sent_at)
);

-- owner is a context: usr_… or org_…. created_by and assigned_to may have left.
CREATE TABLE projects (
    id          TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    owner       TEXT COLLATE "C" NOT NULL,
    name        TEXT COLLATE "C" NOT NULL,
    description TEXT COLLATE "C" NOT NULL,
    created_by  TEXT COLLATE "C" NOT NULL,
    assigned_to TEXT COLLATE "C" NOT NULL,
    version     BIGINT NOT NULL CHECK (version >= 1),
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL
);
CREATE INDEX projects_owner ON projects (owner, id);
