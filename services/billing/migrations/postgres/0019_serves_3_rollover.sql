-- expand: programs that know version 3 go on. A catalog that has plans with a rollover they cannot read, so none of them sells one
-- where no later program does. The SQLite twin of this file differs in how triggers are written and in types.

-- Of a subscription of whose months something rolls over: how many credits at most, of which plan and for which month (JSON).
-- That of another plan than the present one counts no more: programs that do not know of it change the plan alone.
ALTER TABLE subscriptions ADD COLUMN rollover TEXT;

-- Whoever begins a month of such a one writes that anew, and has granted what rolls over. Programs that do not know of it find
-- nothing to renew, and give back what they were paid.
CREATE FUNCTION subscriptions_rollover_with_period() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RETURN NULL;
END $$;
CREATE TRIGGER subscriptions_rollover_with_period BEFORE UPDATE OF period_number ON subscriptions
    FOR EACH ROW WHEN (OLD.rollover IS NOT NULL AND NEW.rollover = OLD.rollover AND NEW.period_number <> OLD.period_number)
    EXECUTE FUNCTION subscriptions_rollover_with_period();

-- The same of a subscription that begins with a payment, in millionths of a credit; it has its interval written out
-- (start_interval). Programs that do not know of it would begin one without: none may run beside one that sells such a plan.
ALTER TABLE payments ADD COLUMN rollover BIGINT;
