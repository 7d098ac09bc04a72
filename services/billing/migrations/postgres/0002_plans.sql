-- Subscriptions and purchases: where allowances and packs come from.

-- A plan an owner is on. At most one that is not ended per owner.
CREATE TABLE subscriptions (
    owner             TEXT COLLATE "C" NOT NULL,
    id                TEXT COLLATE "C" NOT NULL,
    plan_id           TEXT NOT NULL,
    state             TEXT NOT NULL CHECK (state IN ('ACTIVE', 'ENDED')),
    -- What was agreed when it began: a catalog edit never touches it. The price is in millionths of the currency's unit.
    credits           BIGINT NOT NULL CHECK (credits >= 0),
    seats             BIGINT NOT NULL CHECK (seats > 0),
    currency          TEXT NOT NULL,
    price             BIGINT NOT NULL CHECK (price >= 0),
    payment_method    TEXT NOT NULL,
    payment_reference TEXT NOT NULL,
    -- Periods are counted from here: 31 January, 28 February, 31 March. The period is the last one paid for.
    started_at        BIGINT NOT NULL,
    period_number     BIGINT NOT NULL CHECK (period_number >= 0),
    period_start      BIGINT NOT NULL,
    period_end        BIGINT NOT NULL,
    ended_at          BIGINT,
    -- What repetitions need for ever: who asked and under which id, what was asked, what was answered.
    request           BYTEA CHECK (length(request) = 16),
    request_hash      BYTEA CHECK (length(request_hash) = 32),
    first_answer      BYTEA,
    PRIMARY KEY (owner, id),
    CHECK (period_end > period_start),
    CHECK ((request IS NULL) = (request_hash IS NULL) AND (request IS NULL) = (first_answer IS NULL)),
    CHECK ((state = 'ENDED') = (ended_at IS NOT NULL))
);
CREATE UNIQUE INDEX subscriptions_one_live ON subscriptions (owner) WHERE state <> 'ENDED';
CREATE UNIQUE INDEX subscriptions_request ON subscriptions (owner, request) WHERE request IS NOT NULL;
CREATE INDEX subscriptions_due ON subscriptions (period_end, id) WHERE state <> 'ENDED';

-- A pack that was bought, or whose payment was declined. A payment credits once.
CREATE TABLE purchases (
    owner             TEXT COLLATE "C" NOT NULL,
    id                TEXT COLLATE "C" NOT NULL,
    pack_id           TEXT NOT NULL,
    state             TEXT NOT NULL CHECK (state IN ('PAID', 'DECLINED')),
    credits           BIGINT NOT NULL CHECK (credits > 0),
    currency          TEXT NOT NULL,
    price             BIGINT NOT NULL CHECK (price >= 0),
    payment_method    TEXT NOT NULL,
    payment_reference TEXT NOT NULL,
    lot_id            TEXT COLLATE "C",
    buyer             TEXT COLLATE "C" NOT NULL,
    created_at        BIGINT NOT NULL,
    -- What repetitions need for ever: who asked and under which id, what was asked, what was answered.
    request           BYTEA CHECK (length(request) = 16),
    request_hash      BYTEA CHECK (length(request_hash) = 32),
    first_answer      BYTEA,
    PRIMARY KEY (owner, id),
    CHECK ((state = 'PAID') = (lot_id IS NOT NULL)),
    CHECK ((request IS NULL) = (request_hash IS NULL) AND (request IS NULL) = (first_answer IS NULL))
);
CREATE UNIQUE INDEX purchases_payment_reference ON purchases (owner, payment_reference);
CREATE UNIQUE INDEX purchases_request ON purchases (owner, request) WHERE request IS NOT NULL;
CREATE INDEX purchases_by_id ON purchases (id);
