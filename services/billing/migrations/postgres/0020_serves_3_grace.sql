-- expand: programs that know version 3 go on. A catalog that has plans with grant_in_grace they cannot read, so none of them sells
-- one where no later program does. The SQLite twin of this file differs in how triggers are written and in types.

-- Of a subscription whose months are granted before their payment: of which plan and for which month that is so (JSON). That of
-- another plan than the present one counts no more: programs that do not know of it change the plan alone.
ALTER TABLE subscriptions ADD COLUMN grace TEXT;

-- Whoever begins a month of such a one writes that anew, and has looked for what was granted of it already. Programs that do not
-- know of it would grant that twice: they find nothing to renew, and give back what they were paid.
CREATE FUNCTION subscriptions_grace_with_period() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RETURN NULL;
END $$;
CREATE TRIGGER subscriptions_grace_with_period BEFORE UPDATE OF period_number ON subscriptions
    FOR EACH ROW WHEN (OLD.grace IS NOT NULL AND NEW.grace = OLD.grace AND NEW.period_number <> OLD.period_number)
    EXECUTE FUNCTION subscriptions_grace_with_period();

-- 1 of a subscription that is so and begins with a payment; it has its interval written out (start_interval). Programs that do not
-- know of that give back what they are paid.
ALTER TABLE payments ADD COLUMN grace BIGINT;
