-- expand: programs that know version 3 go on; they alert of no allowance and leave these columns as they are: what is counted says
-- after which entry of the ledger, so it is counted anew where such a program has booked since. The PostgreSQL twin of this file
-- differs in types only.

-- At which percentages of a period's allowance the managers want to be told (JSON, as in account_settings); none where no
-- program that tells of them has set or renewed anything.
ALTER TABLE accounts ADD COLUMN allowance_alerts TEXT;
-- How much of the present period's allowance is used (bytes); none where it is to be counted, or nobody wants to be told.
ALTER TABLE accounts ADD COLUMN allowance BLOB;
