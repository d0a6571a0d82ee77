-- History and access: events, ended attachments, the audit log, tokens, idempotency keys.

-- Ids have no gaps; what store_prune() deletes goes from the low end.
CREATE TABLE events (
    id INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    type TEXT NOT NULL,
    object TEXT NOT NULL,
    from_state TEXT NOT NULL,
    to_state TEXT NOT NULL,
    reason TEXT NOT NULL,
    actor TEXT NOT NULL
) STRICT;
CREATE INDEX events_of ON events (object, id);

-- Attachments that hold nothing any more, as the API shows them.
CREATE TABLE ended_attachments (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    compute_node TEXT NOT NULL,
    donor TEXT NOT NULL,
    ended_ms INTEGER NOT NULL,
    json TEXT NOT NULL
) STRICT;

CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    object TEXT NOT NULL,
    remote TEXT NOT NULL,
    request_id TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;

-- Secrets are never stored, only their SHA-256.
CREATE TABLE tokens (
    id TEXT PRIMARY KEY,
    hash TEXT NOT NULL UNIQUE CHECK (length(hash) = 64),
    role TEXT NOT NULL CHECK (role IN ('viewer', 'operator', 'admin', 'join', 'agent')),
    name TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE idempotency (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    actor TEXT NOT NULL,
    key TEXT NOT NULL,
    body_hash TEXT NOT NULL,
    attachment TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    UNIQUE (actor, key)
) STRICT;
