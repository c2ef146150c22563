-- A bit in a destination's place means loss, one in a group of points sends values out under other names.

ALTER TABLE destination ADD COLUMN checksum INTEGER;    -- NULL: written by an earlier version
ALTER TABLE point_group ADD COLUMN checksum INTEGER;
