-- One charge as a careful engineer writes it by hand: lock, insert, update, in one transaction.
BEGIN;
SELECT seq + 1 AS seq, available - 250000 AS available FROM accounts WHERE owner = 'org_00000000000000000000000001' FOR UPDATE \gset
INSERT INTO ledger_entries (owner, seq, kind, at, amount, available_after, held_after, operation_id, member, project, model, labels, request_key, body_hash, postings, hash)
VALUES ('org_00000000000000000000000001', :seq, 'CHARGE', 0, 250000, :available, 0, 'chg_' || md5(random()::text), 'usr_00000000000000000000000001',
        'prj_00000000000000000000000001', 'veo-3.1', '{"job":"render"}', md5(random()::text), 0,
        '[["lot_00000000000000000000000001",-250000,0,250000,0,0]]', decode(repeat('00', 32), 'hex'));
UPDATE lots SET remaining = remaining - 250000, spent = spent + 250000
WHERE owner = 'org_00000000000000000000000001' AND id = 'lot_00000000000000000000000001' AND remaining >= 250000;
UPDATE accounts SET seq = :seq, available = :available, period_spent = period_spent + 250000 WHERE owner = 'org_00000000000000000000000001';
COMMIT;
