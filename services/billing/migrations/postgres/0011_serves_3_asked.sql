-- expand: programs that know version 3 go on. The SQLite twin of this file is the same.

-- With what the provider was asked for a payment's money, by its own name for it: from before it is asked until its answer
-- is known. None in a payment that nobody was asked for, and in those of earlier programs.
ALTER TABLE payments ADD COLUMN asked_with TEXT;

-- What is left of a payment's credits at another owner, to whom the subscription has moved (JSON).
ALTER TABLE payments ADD COLUMN moved TEXT;

-- What waits for its payment is found by the owner, and by nothing else that the owner has paid.
CREATE INDEX payments_open ON payments (owner, id)
    WHERE state IN ('CREATED', 'PENDING', 'REQUIRES_ACTION') AND returned = 0;

-- A renewal's id has its month's time: payments are listed by when they began.
CREATE INDEX payments_by_time ON payments (owner, created_at, id);
