-- The rack: what there is (nodes, adapters, ports, switches, links) and what is in use (circuits, attachments).
-- A row's slot is its place in the orchestrator's tables; rows refer to each other by slot.  Foreign keys are checked at
-- commit, because a batch may bring rows in any order.  The unique indexes and triggers are the last line of defence: nothing
-- is ever given twice, whatever the program believes.  64-bit addresses are stored as they are, as signed integers.

CREATE TABLE store (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    epoch INTEGER NOT NULL,
    instance TEXT NOT NULL,
    revision INTEGER NOT NULL,
    last_event INTEGER NOT NULL,
    topology_version INTEGER NOT NULL,
    next_circuit INTEGER NOT NULL
) STRICT;
INSERT INTO store VALUES (1, 0, '', 0, 0, 1, 1);

CREATE TABLE nodes (
    slot INTEGER PRIMARY KEY CHECK (slot >= 0),
    changed INTEGER NOT NULL,
    name TEXT NOT NULL UNIQUE CHECK (name <> ''),
    machine_id TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    fenced_boot_id TEXT NOT NULL,
    version TEXT NOT NULL,
    cordoned INTEGER NOT NULL CHECK (cordoned IN (0, 1)),
    headroom_bytes INTEGER NOT NULL,
    memory_bytes INTEGER NOT NULL,
    block_bytes INTEGER NOT NULL,
    free_bytes INTEGER NOT NULL,
    locked_bytes INTEGER NOT NULL
) STRICT;

CREATE TABLE node_labels (
    node INTEGER NOT NULL REFERENCES nodes (slot) DEFERRABLE INITIALLY DEFERRED,
    position INTEGER NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (node, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE adapters (
    slot INTEGER PRIMARY KEY CHECK (slot >= 0),
    changed INTEGER NOT NULL,
    node INTEGER NOT NULL REFERENCES nodes (slot) DEFERRABLE INITIALLY DEFERRED,
    name TEXT NOT NULL CHECK (name <> ''),
    role TEXT NOT NULL CHECK (role IN ('compute', 'memory')),
    n_ports INTEGER NOT NULL,
    window_addr INTEGER NOT NULL,
    window_bytes INTEGER NOT NULL,
    n_sections INTEGER NOT NULL,
    UNIQUE (node, name)
) STRICT;

-- The order in which a node names its adapters.
CREATE TABLE node_adapters (
    node INTEGER NOT NULL REFERENCES nodes (slot) DEFERRABLE INITIALLY DEFERRED,
    position INTEGER NOT NULL,
    adapter INTEGER NOT NULL UNIQUE REFERENCES adapters (slot) DEFERRABLE INITIALLY DEFERRED,
    PRIMARY KEY (node, position)
) STRICT, WITHOUT ROWID;

-- What is remembered of a section register; the other sections are as after a reset.
CREATE TABLE sections (
    adapter INTEGER NOT NULL REFERENCES adapters (slot) DEFERRABLE INITIALLY DEFERRED,
    section INTEGER NOT NULL CHECK (section BETWEEN 0 AND 7),
    used INTEGER NOT NULL CHECK (used IN (0, 1)),
    base INTEGER NOT NULL,
    park_revision INTEGER NOT NULL,
    PRIMARY KEY (adapter, section)
) STRICT, WITHOUT ROWID;

CREATE TABLE switches (
    slot INTEGER PRIMARY KEY CHECK (slot >= 0),
    changed INTEGER NOT NULL,
    name TEXT NOT NULL UNIQUE CHECK (name <> ''),
    n_ports INTEGER NOT NULL,
    first_port INTEGER NOT NULL,
    latency_ns INTEGER NOT NULL,
    managed_by TEXT NOT NULL
) STRICT;

CREATE TABLE ports (
    slot INTEGER PRIMARY KEY CHECK (slot >= 0),
    changed INTEGER NOT NULL,
    adapter INTEGER REFERENCES adapters (slot) DEFERRABLE INITIALLY DEFERRED,
    switch INTEGER REFERENCES switches (slot) DEFERRABLE INITIALLY DEFERRED,
    number INTEGER NOT NULL,
    CHECK ((adapter IS NULL) <> (switch IS NULL))
) STRICT;
CREATE UNIQUE INDEX ports_of_adapter ON ports (adapter, number) WHERE adapter IS NOT NULL;
CREATE UNIQUE INDEX ports_of_switch ON ports (switch, number) WHERE switch IS NOT NULL;

CREATE TABLE links (
    slot INTEGER PRIMARY KEY CHECK (slot >= 0),
    changed INTEGER NOT NULL,
    a INTEGER NOT NULL UNIQUE REFERENCES ports (slot) DEFERRABLE INITIALLY DEFERRED,
    b INTEGER NOT NULL UNIQUE REFERENCES ports (slot) DEFERRABLE INITIALLY DEFERRED,
    latency_ns INTEGER NOT NULL,
    gbps INTEGER NOT NULL,
    down INTEGER NOT NULL CHECK (down IN (0, 1)),
    CHECK (a <> b)
) STRICT;
CREATE TRIGGER link_port_once BEFORE INSERT ON links
WHEN EXISTS (SELECT 1 FROM links WHERE (a = NEW.b OR b = NEW.a) AND slot <> NEW.slot)
BEGIN
    SELECT RAISE(ABORT, 'a port would have two cables');
END;

CREATE TABLE circuits (
    slot INTEGER PRIMARY KEY CHECK (slot >= 0),
    changed INTEGER NOT NULL,
    id TEXT NOT NULL UNIQUE CHECK (id <> ''),
    compute INTEGER NOT NULL REFERENCES adapters (slot) DEFERRABLE INITIALLY DEFERRED,
    memory INTEGER NOT NULL REFERENCES adapters (slot) DEFERRABLE INITIALLY DEFERRED,
    channels INTEGER NOT NULL CHECK (channels IN (1, 2)),
    cost_ns INTEGER NOT NULL,
    leg0_cost_ns INTEGER NOT NULL,
    leg1_cost_ns INTEGER NOT NULL,
    phase INTEGER NOT NULL,
    verified INTEGER NOT NULL CHECK (verified IN (0, 1)),
    revision INTEGER NOT NULL,
    UNIQUE (compute, memory)
) STRICT;

-- A port is in one circuit.
CREATE TABLE circuit_ports (
    circuit INTEGER NOT NULL REFERENCES circuits (slot) DEFERRABLE INITIALLY DEFERRED,
    leg INTEGER NOT NULL CHECK (leg IN (0, 1)),
    position INTEGER NOT NULL,
    port INTEGER NOT NULL UNIQUE REFERENCES ports (slot) DEFERRABLE INITIALLY DEFERRED,
    PRIMARY KEY (circuit, leg, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE attachments (
    slot INTEGER PRIMARY KEY CHECK (slot >= 0),
    changed INTEGER NOT NULL,
    id TEXT NOT NULL UNIQUE CHECK (id <> ''),
    compute_node INTEGER NOT NULL REFERENCES nodes (slot) DEFERRABLE INITIALLY DEFERRED,
    donor INTEGER NOT NULL REFERENCES nodes (slot) DEFERRABLE INITIALLY DEFERRED,
    size_bytes INTEGER NOT NULL CHECK (size_bytes > 0),
    requested_bytes INTEGER NOT NULL CHECK (requested_bytes > 0),
    channels INTEGER NOT NULL CHECK (channels IN (1, 2)),
    bandwidth_gbps INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    circuit INTEGER REFERENCES circuits (slot) DEFERRABLE INITIALLY DEFERRED,
    section INTEGER NOT NULL CHECK (section BETWEEN 0 AND 7),
    offset_bytes INTEGER NOT NULL CHECK (offset_bytes >= 0),
    compute_adapter INTEGER NOT NULL REFERENCES adapters (slot) DEFERRABLE INITIALLY DEFERRED,
    memory_adapter INTEGER NOT NULL REFERENCES adapters (slot) DEFERRABLE INITIALLY DEFERRED,
    cost_ns INTEGER NOT NULL,
    state TEXT NOT NULL
        CHECK (state IN ('pending', 'attached', 'detaching', 'detached', 'failed', 'stuck', 'lost')),
    goal TEXT NOT NULL CHECK (goal IN ('present', 'absent')),
    step INTEGER NOT NULL,
    undoing INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    buffer_seen INTEGER NOT NULL CHECK (buffer_seen IN (0, 1)),
    segment_seen INTEGER NOT NULL CHECK (segment_seen IN (0, 1)),
    compute_gone INTEGER NOT NULL CHECK (compute_gone IN (0, 1)),
    section_released INTEGER NOT NULL CHECK (section_released IN (0, 1)),
    release_published INTEGER NOT NULL CHECK (release_published IN (0, 1)),
    released INTEGER NOT NULL CHECK (released IN (0, 1)),
    quarantined INTEGER NOT NULL CHECK (quarantined IN (0, 1)),
    lender_id TEXT NOT NULL,
    donor_boot TEXT NOT NULL,
    compute_boot TEXT NOT NULL,
    effective_addr INTEGER NOT NULL,
    physical_addr INTEGER NOT NULL,
    ending TEXT NOT NULL
        CHECK (ending IN ('pending', 'attached', 'detaching', 'detached', 'failed', 'stuck', 'lost')),
    tombstone_revision INTEGER NOT NULL,
    reason TEXT NOT NULL,
    CHECK (compute_node <> donor),
    CHECK (offset_bytes + size_bytes <= 1099511627776)
) STRICT;
CREATE UNIQUE INDEX attachments_at ON attachments (compute_adapter, section, offset_bytes);
CREATE INDEX attachments_over ON attachments (circuit);
CREATE TRIGGER range_once BEFORE INSERT ON attachments
WHEN EXISTS (SELECT 1 FROM attachments
             WHERE compute_adapter = NEW.compute_adapter AND section = NEW.section AND slot <> NEW.slot
               AND offset_bytes < NEW.offset_bytes + NEW.size_bytes AND offset_bytes + size_bytes > NEW.offset_bytes)
BEGIN
    SELECT RAISE(ABORT, 'a range of a section would be given twice');
END;
CREATE TRIGGER section_one_circuit BEFORE INSERT ON attachments
WHEN EXISTS (SELECT 1 FROM attachments
             WHERE compute_adapter = NEW.compute_adapter AND section = NEW.section AND slot <> NEW.slot
               AND circuit <> NEW.circuit)
BEGIN
    SELECT RAISE(ABORT, 'a section would lead over two circuits');
END;
