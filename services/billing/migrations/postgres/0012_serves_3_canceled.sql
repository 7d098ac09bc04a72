-- expand: programs that know version 3 go on. The SQLite twin of this file differs in types and in how triggers are written.

-- Whether it was canceled: it ends with its period instead of being renewed.
ALTER TABLE subscriptions ADD COLUMN cancel_at_period_end BIGINT NOT NULL DEFAULT 0;

-- Programs that do not know of it find nothing to renew of what was canceled, as where it has ended, and give back what they
-- were paid.
CREATE FUNCTION subscriptions_end_with_period() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RETURN NULL;
END $$;
CREATE TRIGGER subscriptions_end_with_period BEFORE UPDATE OF period_number ON subscriptions
    FOR EACH ROW WHEN (OLD.cancel_at_period_end = 1 AND NEW.period_number <> OLD.period_number)
    EXECUTE FUNCTION subscriptions_end_with_period();
