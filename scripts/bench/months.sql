-- What pgbench renews (`month.sql`): a renewal's tables as they were in November 2026, with fewer columns, frozen, so that ratios
-- stay comparable. Do not follow the migrations here.
CREATE TABLE subscriptions (owner TEXT COLLATE "C" PRIMARY KEY, period_number BIGINT NOT NULL, period_start BIGINT NOT NULL, period_end BIGINT NOT NULL);
CREATE INDEX subscriptions_due ON subscriptions (period_end, owner);
CREATE TABLE payments (id TEXT COLLATE "C" PRIMARY KEY, owner TEXT COLLATE "C" NOT NULL, state TEXT NOT NULL, thing BYTEA NOT NULL, attempt BIGINT NOT NULL,
    amount BIGINT NOT NULL, reference TEXT COLLATE "C" UNIQUE, created_at BIGINT NOT NULL, UNIQUE (thing, attempt));
CREATE INDEX payments_by_time ON payments (owner, created_at, id);
CREATE TABLE accounts (owner TEXT COLLATE "C" PRIMARY KEY, seq BIGINT NOT NULL, available BIGINT NOT NULL) WITH (fillfactor = 50);
CREATE TABLE lots (owner TEXT COLLATE "C" NOT NULL, number BIGINT NOT NULL, granted BIGINT NOT NULL, remaining BIGINT NOT NULL, expired BIGINT NOT NULL,
    live BOOLEAN NOT NULL, PRIMARY KEY (owner, number)) WITH (fillfactor = 70);
CREATE INDEX lots_live ON lots (owner) WHERE live;
CREATE TABLE ledger_entries (owner TEXT COLLATE "C" NOT NULL, seq BIGINT NOT NULL, at BIGINT NOT NULL, body BYTEA NOT NULL, hash BYTEA NOT NULL, PRIMARY KEY (owner, seq));
CREATE TABLE invoices (owner TEXT COLLATE "C" NOT NULL, id TEXT COLLATE "C" NOT NULL, number TEXT NOT NULL, payment_id TEXT NOT NULL, total BIGINT NOT NULL,
    body TEXT NOT NULL, PRIMARY KEY (owner, id));
CREATE UNIQUE INDEX invoices_number ON invoices (owner, number);
CREATE SEQUENCE next_due;
INSERT INTO subscriptions SELECT 'usr_' || i, 0, 0, 1 FROM generate_series(1, 200000) AS i;
INSERT INTO accounts SELECT 'usr_' || i, 3, 1300000000 FROM generate_series(1, 200000) AS i;
INSERT INTO lots SELECT 'usr_' || i, n, 1500000000, 1500000000, 0, true FROM generate_series(1, 200000) AS i, generate_series(1, 2) AS n;
VACUUM ANALYZE;
