-- expand: programs that know version 3 go on: plan, price, credits and seats of a row are what a month is in all, whoever reads
-- it. One that moves a subscription leaves what waits for its next period behind. The PostgreSQL twin of this file differs in
-- types and in how triggers are written.

-- Seats beside those that the plan includes: how many of all, what a month of each costs, in millionths of the currency's unit,
-- and the credits that each adds.
ALTER TABLE subscriptions ADD COLUMN extra_seats INTEGER NOT NULL DEFAULT 0 CHECK (extra_seats >= 0);
ALTER TABLE subscriptions ADD COLUMN seat_price INTEGER NOT NULL DEFAULT 0 CHECK (seat_price >= 0);
ALTER TABLE subscriptions ADD COLUMN seat_credits INTEGER NOT NULL DEFAULT 0 CHECK (seat_credits >= 0);

-- What it becomes with its next period (JSON), and how often it was changed, or a change was planned or taken back.
ALTER TABLE subscriptions ADD COLUMN pending_change TEXT;
ALTER TABLE subscriptions ADD COLUMN changes INTEGER NOT NULL DEFAULT 0 CHECK (changes >= 0);

-- Whoever begins a period takes up what waited for it. Programs that do not know of it find nothing to renew, and give back what
-- they were paid.
CREATE TRIGGER subscriptions_change_with_period BEFORE UPDATE OF period_number ON subscriptions
    WHEN OLD.pending_change IS NOT NULL AND NEW.pending_change IS NOT NULL AND NEW.period_number <> OLD.period_number
BEGIN
    SELECT RAISE(IGNORE);
END;

-- What a subscription becomes at once when the payment is there (JSON). To programs that do not know of it, it is a renewal of a
-- period that has begun already: they give back what they are paid.
ALTER TABLE payments ADD COLUMN change TEXT;
