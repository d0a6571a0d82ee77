-- Labels are the agent's until an operator changes one: from then on a registration does not replace them.
ALTER TABLE nodes ADD COLUMN labels_set INTEGER NOT NULL DEFAULT 0 CHECK (labels_set IN (0, 1));
