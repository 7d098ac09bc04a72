-- expand: programs that know version 3 go on. The PostgreSQL twin of this file differs in types only.

-- How the owner stands, as organization and identity told last: 0 active, 1 pending, 2 suspended, 3 deleted, 4 purged. The
-- last word of each stands in `standings`; it stands here, too, because every request is decided by this row.
ALTER TABLE accounts ADD COLUMN standing INTEGER NOT NULL DEFAULT 0;
CREATE INDEX accounts_standing ON accounts (owner) WHERE standing <> 0;

-- Whether it ended because its owner was deleted: it goes on if the owner comes back within the period that is paid.
ALTER TABLE subscriptions ADD COLUMN ended_with_owner INTEGER NOT NULL DEFAULT 0;
