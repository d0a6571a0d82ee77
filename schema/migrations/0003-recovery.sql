-- Old copies and damage: what a restored database has to be told from, and a sum of each row of the rack.

-- The highest epoch that is known to be ahead of this database: nothing changes until an operator adopts.  0: not recovering.
ALTER TABLE store ADD COLUMN recovering INTEGER NOT NULL DEFAULT 0;

-- Only a backup has this row: a database that starts with it was restored.
CREATE TABLE backup (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    made_ms INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    instance TEXT NOT NULL,
    revision INTEGER NOT NULL,
    last_event INTEGER NOT NULL,
    version TEXT NOT NULL
) STRICT;

-- A node that came with a join token that does not approve waits for an operator.
ALTER TABLE nodes ADD COLUMN enrolment TEXT NOT NULL DEFAULT 'approved' CHECK (enrolment IN ('approved', 'waiting', 'refused'));
ALTER TABLE tokens ADD COLUMN approves INTEGER NOT NULL DEFAULT 1 CHECK (approves IN (0, 1));

-- SQLite's own check finds damage of structure; these find a changed value.  0: written before there were sums.
ALTER TABLE nodes ADD COLUMN sum INTEGER NOT NULL DEFAULT 0;
ALTER TABLE adapters ADD COLUMN sum INTEGER NOT NULL DEFAULT 0;
ALTER TABLE ports ADD COLUMN sum INTEGER NOT NULL DEFAULT 0;
ALTER TABLE switches ADD COLUMN sum INTEGER NOT NULL DEFAULT 0;
ALTER TABLE links ADD COLUMN sum INTEGER NOT NULL DEFAULT 0;
ALTER TABLE circuits ADD COLUMN sum INTEGER NOT NULL DEFAULT 0;
ALTER TABLE attachments ADD COLUMN sum INTEGER NOT NULL DEFAULT 0;
ALTER TABLE store ADD COLUMN sum INTEGER NOT NULL DEFAULT 0;
