-- expand: programs that know version 1 go on. The SQLite twin of this file differs in nothing.

-- Of which plans not all was told: these are looked for every few seconds, and there are few or none.
CREATE INDEX organization_seats_untold ON organization_seats (organization_id)
    WHERE seats IS NOT NULL AND (plan_version <> version OR features IS NULL);
