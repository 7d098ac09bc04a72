-- expand: programs that know version 3 go on; they top nothing up and leave all of this as it is. The SQLite twin of this file
-- differs in types only.

-- Below how many available credits the account is topped up, in millionths; none where it is not.
ALTER TABLE accounts ADD COLUMN top_up_below BIGINT;

-- What the managers have set of it (JSON).
ALTER TABLE account_settings ADD COLUMN auto_top_up TEXT;

-- How far an account's top-ups have come. crossing: which need of credits is looked after, one after another: by it and the
-- attempt a payment is known. declines: how many attempts in a row came to nothing. attempted_at: when the last one began.
-- capped_until: until when the audit log has heard that the month's ceiling is reached.
CREATE TABLE top_ups (
    owner        TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    crossing     BIGINT NOT NULL CHECK (crossing >= 0),
    declines     BIGINT NOT NULL CHECK (declines >= 0),
    attempted_at BIGINT,
    capped_until BIGINT
);

-- The payments that they began. net: without taxes, in millionths of the currency's unit. told: whether the audit log has heard
-- of it. counted: whether it is one of the declines.
CREATE TABLE top_up_payments (
    payment_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    owner      TEXT COLLATE "C" NOT NULL,
    began_at   BIGINT NOT NULL,
    currency   TEXT NOT NULL,
    net        BIGINT NOT NULL CHECK (net >= 0),
    set_by     TEXT NOT NULL,
    told       BIGINT NOT NULL CHECK (told IN (0, 1)),
    counted    BIGINT NOT NULL CHECK (counted IN (0, 1))
);
CREATE INDEX top_up_payments_of ON top_up_payments (owner, began_at);
