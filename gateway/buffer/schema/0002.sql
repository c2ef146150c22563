-- Readings that were set aside can be sent again: which, is asked for by another process, so it stands in a table.

CREATE TABLE retry (                     -- one row for each destination while there is something to do
    destination TEXT PRIMARY KEY,
    through     INTEGER NOT NULL         -- send it again everything in set_aside up to this id
) WITHOUT ROWID;
