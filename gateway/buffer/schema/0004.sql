-- Between which positions the readings of an episode of loss were, so that gaps can be told from them.

ALTER TABLE dropped ADD COLUMN first_position INTEGER;  -- NULL: they were lost before they had a position
ALTER TABLE dropped ADD COLUMN last_position INTEGER;

UPDATE dropped                           -- nobody knows where those of earlier versions were
SET first_position = 1, last_position = max(
    (SELECT coalesce(max(through), 0) FROM destination),
    (SELECT coalesce(max(id), 0) FROM reading)
)
WHERE reason NOT IN ('memory', 'shutdown', 'not-encodable');
