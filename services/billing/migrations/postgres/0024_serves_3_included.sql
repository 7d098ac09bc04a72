-- expand: programs that know version 3 go on; they leave these columns as they are. The SQLite twin of this file is the same.

-- What the plan of a subscription includes, as it was sold (JSON: features and scope), and of which plan that is. NULL, or that
-- of another plan than the present one, says nothing: programs that know nothing of it begin subscriptions without, and change
-- the plan alone. Then the catalog says it, until a later program has written that down.
ALTER TABLE subscriptions ADD COLUMN included TEXT;
ALTER TABLE subscriptions ADD COLUMN included_plan TEXT;

-- Those of which it is not written down: of none, once a later program has looked.
CREATE INDEX subscriptions_not_kept ON subscriptions (id)
    WHERE state <> 'ENDED' AND (included IS NULL OR included_plan <> plan_id);

-- The same of a subscription that begins with a payment.
ALTER TABLE payments ADD COLUMN included TEXT;
