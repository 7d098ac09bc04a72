-- expand: programs that know version 3 go on; they leave this column as it is. The PostgreSQL twin of this file differs in types only.

-- The provider's name for the dispute that a payment's fields are about: another one of the same payment is set aside. NULL where
-- none was heard of, or an earlier program has heard: then, while it is not decided, it is the first one that is heard of from then on.
ALTER TABLE payments ADD COLUMN dispute_id TEXT;
