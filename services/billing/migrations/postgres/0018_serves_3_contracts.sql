-- expand: programs that know version 3 go on; they begin no contract that waits. The SQLite twin of this file differs in
-- types only.

-- What a contract includes, and of which plan it is (JSON); none where a subscription is what its plan is. The features of
-- another plan than the present one count no more: programs that do not know of them change the plan alone.
ALTER TABLE subscriptions ADD COLUMN features TEXT;

-- The same of a subscription that begins with a payment, which has its interval written out (start_interval). Programs that do
-- not know of that give back what they are paid.
ALTER TABLE payments ADD COLUMN features TEXT;

-- Contracts that begin later, one for each owner. id: another one in its place has another. terms: what was agreed (JSON).
-- attempts: how often it was tried to begin it in vain.
CREATE TABLE contracts (
    owner          TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    id             TEXT COLLATE "C" NOT NULL,
    terms          TEXT NOT NULL,
    payment_method TEXT NOT NULL,
    starts_at      BIGINT NOT NULL,
    set_by         TEXT NOT NULL,
    set_at         BIGINT NOT NULL,
    attempts       BIGINT NOT NULL CHECK (attempts >= 0)
);
CREATE INDEX contracts_due ON contracts (starts_at);
