-- expand: programs that know version 3 go on; they pay with what has stopped serving, too. The SQLite twin of this file differs in
-- types only.

-- Until when a payment method serves whose adder has passed the organization on (microseconds); none where it serves on.
ALTER TABLE payment_methods ADD COLUMN serves_until BIGINT;
