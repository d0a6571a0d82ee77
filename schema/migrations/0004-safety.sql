-- What the safety rules have to remember over a restart: ranges that are not used again before both sides rebooted, ports
-- that were reset with traffic in flight, circuits whose donor was lost under live memory, boots that are over; and the states
-- that events were told of, so that the first event after a restart begins where the last one ended.

ALTER TABLE nodes ADD COLUMN previous_boot_id TEXT NOT NULL DEFAULT '';
ALTER TABLE nodes ADD COLUMN state TEXT NOT NULL DEFAULT 'unreachable'
    CHECK (state IN ('new', 'ready', 'unreachable', 'fenced', 'incompatible'));
ALTER TABLE adapters ADD COLUMN failed INTEGER NOT NULL DEFAULT 0 CHECK (failed IN (0, 1));
ALTER TABLE ports ADD COLUMN suspect INTEGER NOT NULL DEFAULT 0 CHECK (suspect IN (0, 1));
ALTER TABLE ports ADD COLUMN signal INTEGER NOT NULL DEFAULT 0 CHECK (signal BETWEEN 0 AND 2);
ALTER TABLE circuits ADD COLUMN severed INTEGER NOT NULL DEFAULT 0 CHECK (severed IN (0, 1));
ALTER TABLE circuits ADD COLUMN state TEXT NOT NULL DEFAULT 'connecting'
    CHECK (state IN ('planned', 'connecting', 'unverified', 'up', 'closing'));
ALTER TABLE attachments ADD COLUMN barring INTEGER NOT NULL DEFAULT 0 CHECK (barring IN (0, 1));
-- The boots are hashed; 0: not barred.  The donor is a slot, -1 when there is none; it may be gone.
ALTER TABLE sections ADD COLUMN barred_compute_boot INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sections ADD COLUMN barred_donor INTEGER NOT NULL DEFAULT -1;
ALTER TABLE sections ADD COLUMN barred_donor_boot INTEGER NOT NULL DEFAULT 0;
