-- Which destinations were still waiting for what was lost: a reading that is gone for one may have reached another.

CREATE TABLE dropped_for (               -- without a row, an episode of `dropped` counts for all destinations
    episode        INTEGER NOT NULL,     -- dropped.id
    destination    TEXT NOT NULL,        -- '': one that had left before the gateway started
    readings       INTEGER NOT NULL,
    first_position INTEGER NOT NULL,     -- between these two
    last_position  INTEGER NOT NULL,
    PRIMARY KEY (episode, destination)
) WITHOUT ROWID;
