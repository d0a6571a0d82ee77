-- What stays refused though its node is forgotten; switches that an operator declared off; the epochs that this database has
-- lived through, so that whoever knows another past is told from it.

-- A boot that was fenced (adapter ''), or sections of an adapter that a range ended in and whose node was forgotten since: a
-- machine that comes by that name does not get them.  Never deleted.
CREATE TABLE bans (
    slot INTEGER PRIMARY KEY CHECK (slot >= 0),
    changed INTEGER NOT NULL,
    boot_id TEXT NOT NULL,
    node TEXT NOT NULL,
    adapter TEXT NOT NULL,
    sections INTEGER NOT NULL,
    sum INTEGER NOT NULL DEFAULT 0,
    CHECK ((boot_id = '') <> (adapter = ''))
) STRICT;
INSERT INTO bans (slot, changed, boot_id, node, adapter, sections)
    SELECT row_number() OVER (ORDER BY slot) - 1, changed, fenced_boot_id, name, '', 0 FROM nodes WHERE fenced_boot_id <> '';

ALTER TABLE switches ADD COLUMN fenced INTEGER NOT NULL DEFAULT 0 CHECK (fenced IN (0, 1));

-- Each start, and each adoption.  An epoch's commits are those after first_revision, up to the next epoch's.
CREATE TABLE epochs (
    epoch INTEGER PRIMARY KEY,
    instance TEXT NOT NULL,
    first_revision INTEGER NOT NULL
) STRICT;
