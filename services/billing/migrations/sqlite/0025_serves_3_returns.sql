-- expand: programs that know version 3 go on; when they have a subscription go on again they do not write it down. The PostgreSQL
-- twin of this file differs in types only.

-- When a subscription that had ended with its owner (`ended_with_owner`) went on again: since when it had ended, and since when it
-- goes on. A month that ended in between is told as it was then, however late it is asked for.
CREATE TABLE subscription_returns (
    subscription_id TEXT NOT NULL,
    owner           TEXT NOT NULL,
    ended_at        INTEGER NOT NULL,
    returned_at     INTEGER NOT NULL,
    PRIMARY KEY (subscription_id, owner, ended_at)
) STRICT;

-- A subscription whoever has it: one that has moved has a row with each of its owners.
CREATE INDEX subscriptions_by_id ON subscriptions (id);
