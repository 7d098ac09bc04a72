-- expand: programs that know version 3 go on. The PostgreSQL twin of this file differs in types and in how a trigger is
-- written.

-- What the managers of an account have set. version: counts the changes. The profile and the percentages are JSON.
CREATE TABLE account_settings (
    owner                    TEXT NOT NULL PRIMARY KEY,
    version                  INTEGER NOT NULL CHECK (version > 0),
    billing_profile          TEXT NOT NULL,
    time_zone                TEXT NOT NULL,
    allowance_alert_percents TEXT NOT NULL,
    updated_at               INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What a payment is for, in lines and taxes that add up to its amount (JSON); none in payments of earlier programs. And the
-- invoice that was issued for it.
ALTER TABLE payments ADD COLUMN bill TEXT;
ALTER TABLE payments ADD COLUMN invoice_id TEXT;

-- What an account's invoices are numbered by: made once, and unique in the deployment; and how many documents it has.
CREATE TABLE invoice_accounts (
    owner     TEXT NOT NULL PRIMARY KEY,
    prefix    TEXT NOT NULL UNIQUE,
    documents INTEGER NOT NULL CHECK (documents >= 0)
) STRICT, WITHOUT ROWID;

-- The last number of each kind that an account has used in a year. Counted up in the transaction that uses it, so a number
-- that is not used is not taken.
CREATE TABLE invoice_series (
    owner TEXT NOT NULL,
    kind  TEXT NOT NULL,
    year  INTEGER NOT NULL,
    last  INTEGER NOT NULL CHECK (last > 0),
    PRIMARY KEY (owner, kind, year)
) STRICT, WITHOUT ROWID;

-- Invoices and credit notes. body: lines, taxes, who issued it (JSON). profile: to whom (JSON), until it is erased.
-- owner_gone: nobody will ask for it any more, and the profile goes when the law lets it.
CREATE TABLE invoices (
    owner             TEXT NOT NULL,
    id                TEXT NOT NULL,
    kind              TEXT NOT NULL,
    number            TEXT NOT NULL,
    -- Which of the account's documents it is, counted from 1.
    position          INTEGER NOT NULL CHECK (position > 0),
    -- The invoice that a credit note corrects.
    original          TEXT,
    payment_id        TEXT NOT NULL,
    currency          TEXT NOT NULL,
    -- The gross sum in millionths of the currency's unit.
    total             INTEGER NOT NULL CHECK (total >= 0),
    issued_at         INTEGER NOT NULL,
    body              TEXT NOT NULL,
    profile           TEXT,
    owner_gone        INTEGER NOT NULL DEFAULT 0 CHECK (owner_gone IN (0, 1)),
    PRIMARY KEY (owner, id),
    CHECK ((kind = 'CREDIT_NOTE') = (original IS NOT NULL))
) STRICT;
CREATE UNIQUE INDEX invoices_position ON invoices (owner, position);
CREATE UNIQUE INDEX invoices_number ON invoices (owner, number);
CREATE UNIQUE INDEX invoices_payment ON invoices (owner, payment_id) WHERE kind = 'INVOICE';
CREATE INDEX invoices_original ON invoices (owner, original) WHERE original IS NOT NULL;
CREATE INDEX invoices_of_the_gone ON invoices (issued_at) WHERE owner_gone = 1 AND profile IS NOT NULL;

CREATE TRIGGER invoices_no_delete BEFORE DELETE ON invoices
BEGIN
    SELECT RAISE(ABORT, 'invoices are never removed');
END;
CREATE TRIGGER invoices_no_update BEFORE UPDATE OF owner, id, kind, number, position, original, payment_id, currency,
    total, issued_at, body ON invoices
BEGIN
    SELECT RAISE(ABORT, 'invoices never change');
END;
CREATE TRIGGER invoices_profile_goes BEFORE UPDATE OF profile ON invoices WHEN NEW.profile IS NOT NULL
BEGIN
    SELECT RAISE(ABORT, 'invoices never change');
END;
