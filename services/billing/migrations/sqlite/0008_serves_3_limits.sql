-- expand: programs that know version 3 go on; they know no limits, and neither check nor count. The PostgreSQL twin of this file
-- differs in types only.

-- How many limits the account has: with none nobody looks for any.
ALTER TABLE accounts ADD COLUMN limits INTEGER NOT NULL DEFAULT 0;

-- Limits. subject: a byte for the kind (0 every member, 1 member, 2 project, 3 model, 4 API key), then the id's bytes or the
-- name. span: 1 hour, 2 day, 3 month, 4 billing period. mode: 1 hard, 2 warning. alerts: percentages, separated by commas.
-- zone: where the account's days and months begin.
CREATE TABLE limits (
    owner   BLOB   NOT NULL,
    id      BLOB   NOT NULL,
    subject BLOB   NOT NULL,
    span    INTEGER NOT NULL,
    mode    INTEGER NOT NULL,
    amount  INTEGER NOT NULL CHECK (amount >= 0),
    alerts  TEXT   NOT NULL,
    zone    TEXT   NOT NULL,
    set_at  INTEGER NOT NULL,
    set_by  TEXT   NOT NULL,
    PRIMARY KEY (owner, id)
) STRICT;
CREATE UNIQUE INDEX limits_subject ON limits (owner, subject, span, mode);

-- How much of what limits speak of was used in a window: charged and reserved, less what was given back. Written with the
-- entry that changes it. A window that is over is kept until no hold can be open that counts in it.
CREATE TABLE limit_uses (
    owner     BLOB   NOT NULL,
    subject   BLOB   NOT NULL,
    span      INTEGER NOT NULL,
    starts_at INTEGER NOT NULL,
    ends_at   INTEGER NOT NULL,
    used      INTEGER NOT NULL CHECK (used >= 0),
    PRIMARY KEY (owner, subject, span, starts_at)
) STRICT, WITHOUT ROWID;
CREATE INDEX limit_uses_over ON limit_uses (ends_at);
