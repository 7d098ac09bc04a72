-- expand: programs that know version 3 go on. A catalog that has plans by the year they cannot read, so none of them sells one
-- where no later program does. The SQLite twin of this file differs in how triggers are written.

-- Of a subscription that is paid by the year, or once was: until when it is paid for, from when its months count and what was
-- paid for them (JSON); none where each month is paid for itself, counted from its beginning.
ALTER TABLE subscriptions ADD COLUMN prepaid TEXT;

-- Whoever begins a month of such a one writes that anew. Programs that do not know of it find nothing to renew, and give back what
-- they were paid.
CREATE FUNCTION subscriptions_prepaid_with_period() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RETURN NULL;
END $$;
CREATE TRIGGER subscriptions_prepaid_with_period BEFORE UPDATE OF period_number ON subscriptions
    FOR EACH ROW WHEN (OLD.prepaid IS NOT NULL AND NEW.prepaid = OLD.prepaid AND NEW.period_number <> OLD.period_number)
    EXECUTE FUNCTION subscriptions_prepaid_with_period();

-- What ends with the time that is paid for, or becomes something else then, goes on until then: the two triggers that there were
-- are for whoever begins a month without writing that anew.
DROP TRIGGER subscriptions_end_with_period ON subscriptions;
CREATE TRIGGER subscriptions_end_with_period BEFORE UPDATE OF period_number ON subscriptions
    FOR EACH ROW WHEN (OLD.cancel_at_period_end = 1 AND NEW.period_number <> OLD.period_number
        AND (OLD.prepaid IS NULL OR NEW.prepaid IS NULL OR NEW.prepaid = OLD.prepaid))
    EXECUTE FUNCTION subscriptions_end_with_period();
DROP TRIGGER subscriptions_change_with_period ON subscriptions;
CREATE TRIGGER subscriptions_change_with_period BEFORE UPDATE OF period_number ON subscriptions
    FOR EACH ROW WHEN (OLD.pending_change IS NOT NULL AND NEW.pending_change IS NOT NULL
        AND NEW.period_number <> OLD.period_number
        AND (OLD.prepaid IS NULL OR NEW.prepaid IS NULL OR NEW.prepaid = OLD.prepaid))
    EXECUTE FUNCTION subscriptions_change_with_period();

-- How long the periods are of a subscription that begins with a payment; none for a month. To programs that do not know of it, it
-- is a renewal of a subscription that is not there: they give back what they are paid.
ALTER TABLE payments ADD COLUMN start_interval TEXT;

-- The lots of a year's months after the first, with what was taken back of each (JSON).
ALTER TABLE payments ADD COLUMN months TEXT;
