-- expand: programs that know version 3 go on; what they waive is not counted. The SQLite twin of this file differs in types only.

-- What was waived of a subscription's changes in one of its months, net, in millionths of its currency: all of it together is less
-- than the payment provider takes.
CREATE TABLE waivers (
    subscription_id TEXT COLLATE "C" NOT NULL,
    period          BIGINT NOT NULL,
    amount          BIGINT NOT NULL CHECK (amount > 0),
    PRIMARY KEY (subscription_id, period)
);
