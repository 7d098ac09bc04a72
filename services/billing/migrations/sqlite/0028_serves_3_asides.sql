-- expand: programs that know version 3 go on; they leave this column as it is. The PostgreSQL twin of this file differs in types only.

-- What the provider has told of a payment's money that is booked nowhere, as JSON: another dispute than the one that its fields are
-- about, and what was taken back in another currency. NULL where there is none, or an earlier program has set it aside: then the
-- events that are kept of it are worked off once more by `webhooks retry`.
ALTER TABLE payments ADD COLUMN aside TEXT;
