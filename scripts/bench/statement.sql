-- The same in one statement: no round trip while the row is locked. It keeps neither a hash chain nor usage totals.
WITH account AS (
    UPDATE accounts SET seq = seq + 1, available = available - 250000, period_spent = period_spent + 250000
    WHERE owner = 'org_00000000000000000000000001' AND available >= 250000 RETURNING owner, seq, available
), lot AS (
    UPDATE lots SET remaining = remaining - 250000, spent = spent + 250000
    WHERE owner = 'org_00000000000000000000000001' AND id = 'lot_00000000000000000000000001'
)
INSERT INTO ledger_entries (owner, seq, kind, at, amount, available_after, held_after, operation_id, member, project, model, labels, request_key, body_hash, postings, hash)
SELECT owner, seq, 'CHARGE', 0, 250000, available, 0, 'chg_' || md5(random()::text), 'usr_00000000000000000000000001', 'prj_00000000000000000000000001',
       'veo-3.1', '{"job":"render"}', md5(random()::text), 0, '[["lot_00000000000000000000000001",-250000,0,250000,0,0]]', decode(repeat('00', 32), 'hex')
FROM account;
