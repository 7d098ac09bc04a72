-- expand: programs that know version 3 go on. The PostgreSQL twin of this file differs in types only.

-- Up to when an operator has said that missed periods are made up for, however many they are (`renewals resume`).
ALTER TABLE subscriptions ADD COLUMN resumed_until INTEGER;
