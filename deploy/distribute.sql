-- Distributes billing's hot tables by owner over the workers of a Citus cluster.
--
-- Run it once in billing's database on the coordinator, after `bursar-billing migrate` and before the first request:
--
--     psql "$BURSAR_BILLING_STORE" -v ON_ERROR_STOP=1 -f deploy/distribute.sql
--
-- (in a database that a version before has distributed, only the lines of the tables that came since: those of limits and of
-- projects), and
-- set `billing.distributed = true` (BURSAR_BILLING__DISTRIBUTED=true) on every replica. One owner's rows of all these
-- tables then lie together on one worker; every transaction of the credit path has one owner, so it runs there. What owners
-- share (events, jobs, requests, cursors, catalogs, subscriptions, purchases) stays on the coordinator.

-- Not possible on a distributed table. The hash chain still shows whatever is changed.
DROP TRIGGER IF EXISTS ledger_append_only ON ledger_entries;

SELECT create_distributed_table('accounts', 'owner');
SELECT create_distributed_table('lots', 'owner', colocate_with => 'accounts');
SELECT create_distributed_table('ledger_entries', 'owner', colocate_with => 'accounts');
SELECT create_distributed_table('entry_details', 'owner', colocate_with => 'accounts');
SELECT create_distributed_table('holds', 'owner', colocate_with => 'accounts');
SELECT create_distributed_table('usage_hours', 'owner', colocate_with => 'accounts');
SELECT create_distributed_table('usage_days', 'owner', colocate_with => 'accounts');
SELECT create_distributed_table('usage_rollups', 'owner', colocate_with => 'accounts');
SELECT create_distributed_table('usage_meters', 'owner', colocate_with => 'accounts');
SELECT create_distributed_table('limits', 'owner', colocate_with => 'accounts');
SELECT create_distributed_table('limit_uses', 'owner', colocate_with => 'accounts');
SELECT create_distributed_table('projects', 'owner', colocate_with => 'accounts');
