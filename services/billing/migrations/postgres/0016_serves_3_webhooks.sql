-- expand: programs that know version 3 go on. The SQLite twin of this file differs in types only.

-- What a payment provider has told by itself, once for each of its events however often that came. It is stored before the
-- provider hears that it arrived, and worked off by a job. Of what it said only that is kept that is needed for that, and
-- nothing once it is done.
CREATE TABLE webhooks (
    id          TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    kind        TEXT NOT NULL,
    -- WAITING, DONE, IGNORED (nothing that matters here), ASIDE (somebody has to look at it: `problem`).
    state       TEXT NOT NULL,
    body        TEXT,
    deliveries  BIGINT NOT NULL CHECK (deliveries > 0),
    problem     TEXT,
    received_at BIGINT NOT NULL,
    settled_at  BIGINT
);
CREATE INDEX webhooks_aside ON webhooks (received_at, id) WHERE state = 'ASIDE';
CREATE INDEX webhooks_settled ON webhooks (settled_at) WHERE settled_at IS NOT NULL;

-- A provider tells by its own name for it that a card has another date.
CREATE INDEX payment_methods_token ON payment_methods (token) WHERE removed_at IS NULL;
