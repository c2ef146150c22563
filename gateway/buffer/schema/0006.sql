-- What SQLite does not check: that a row says what was written. See `checksum` in gateway/buffer/encoding.py.

ALTER TABLE reading ADD COLUMN checksum INTEGER;    -- NULL: written by an earlier version
ALTER TABLE set_aside ADD COLUMN checksum INTEGER;
