-- expand: programs that know version 3 go on. The SQLite twin of this file differs in types and in how a trigger is
-- written.

-- What the managers of an account have set. version: counts the changes. The profile and the percentages are JSON.
CREATE TABLE account_settings (
    owner                    TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    version                  BIGINT NOT NULL CHECK (version > 0),
    billing_profile          TEXT NOT NULL,
    time_zone                TEXT NOT NULL,
    allowance_alert_percents TEXT NOT NULL,
    updated_at               BIGINT NOT NULL
);

-- What a payment is for, in lines and taxes that add up to its amount (JSON); none in payments of earlier programs. And the
-- invoice that was issued for it.
ALTER TABLE payments ADD COLUMN bill TEXT;
ALTER TABLE payments ADD COLUMN invoice_id TEXT;

-- What an account's invoices are numbered by: made once, and unique in the deployment; and how many documents it has.
CREATE TABLE invoice_accounts (
    owner     TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    prefix    TEXT COLLATE "C" NOT NULL UNIQUE,
    documents BIGINT NOT NULL CHECK (documents >= 0)
);

-- The last number of each kind that an account has used in a year. Counted up in the transaction that uses it, so a number
-- that is not used is not taken.
CREATE TABLE invoice_series (
    owner TEXT COLLATE "C" NOT NULL,
    kind  TEXT COLLATE "C" NOT NULL,
    year  BIGINT NOT NULL,
    last  BIGINT NOT NULL CHECK (last > 0),
    PRIMARY KEY (owner, kind, year)
);

-- Invoices and credit notes. body: lines, taxes, who issued it (JSON). profile: to whom (JSON), until it is erased.
-- owner_gone: nobody will ask for it any more, and the profile goes when the law lets it.
CREATE TABLE invoices (
    owner             TEXT COLLATE "C" NOT NULL,
    id                TEXT COLLATE "C" NOT NULL,
    kind              TEXT COLLATE "C" NOT NULL,
    number            TEXT COLLATE "C" NOT NULL,
    -- Which of the account's documents it is, counted from 1.
    position          BIGINT NOT NULL CHECK (position > 0),
    -- The invoice that a credit note corrects.
    original          TEXT COLLATE "C",
    payment_id        TEXT COLLATE "C" NOT NULL,
    currency          TEXT NOT NULL,
    -- The gross sum in millionths of the currency's unit.
    total             BIGINT NOT NULL CHECK (total >= 0),
    issued_at         BIGINT NOT NULL,
    body              TEXT NOT NULL,
    profile           TEXT,
    owner_gone        BIGINT NOT NULL DEFAULT 0 CHECK (owner_gone IN (0, 1)),
    PRIMARY KEY (owner, id),
    CHECK ((kind = 'CREDIT_NOTE') = (original IS NOT NULL))
);
CREATE UNIQUE INDEX invoices_position ON invoices (owner, position);
CREATE UNIQUE INDEX invoices_number ON invoices (owner, number);
CREATE UNIQUE INDEX invoices_payment ON invoices (owner, payment_id) WHERE kind = 'INVOICE';
CREATE INDEX invoices_original ON invoices (owner, original) WHERE original IS NOT NULL;
CREATE INDEX invoices_of_the_gone ON invoices (issued_at) WHERE owner_gone = 1 AND profile IS NOT NULL;

CREATE FUNCTION invoices_never_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'invoices are never removed';
    END IF;
    IF to_jsonb(NEW) - 'profile' - 'owner_gone' <> to_jsonb(OLD) - 'profile' - 'owner_gone'
        OR (NEW.profile IS NOT NULL AND NEW.profile IS DISTINCT FROM OLD.profile) THEN
        RAISE EXCEPTION 'invoices never change';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER invoices_stay BEFORE UPDATE OR DELETE ON invoices
    FOR EACH ROW EXECUTE FUNCTION invoices_never_change();
