-- expand: programs that know version 1 go on. The PostgreSQL twin of this file is the same.

-- Dead letters of somebody who is gone are forgotten in the transaction that forgets them, by what their keys begin with:
-- jobs_unique has the keys of what is not dead alone. Whoever knows version 1 reads all dead letters, as before.
CREATE INDEX jobs_dead_key ON jobs (kind, unique_key) WHERE dead_at IS NOT NULL AND unique_key IS NOT NULL;
