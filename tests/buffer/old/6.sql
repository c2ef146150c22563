PRAGMA application_id = 1213547079;
PRAGMA user_version = 6;
PRAGMA auto_vacuum = INCREMENTAL;
BEGIN TRANSACTION;
CREATE TABLE clock_era (                  -- holds for the positions from here to the next one
    first_position INTEGER PRIMARY KEY,
    boot_id        TEXT NOT NULL,
    offset_ns      INTEGER NOT NULL,      -- wall clock less boot clock: the wall clock of the moment the machine started
    correction_ns  INTEGER,               -- what observed_at_ns lacks; 0: the clock was set; NULL: nobody knows (yet)
    ended_boot_ns  INTEGER                -- boot clock when that became known; readings with later times have another's
);
INSERT INTO "clock_era" VALUES(1,'an earlier boot',1799999000000000000,0,NULL);
CREATE TABLE destination (               -- waits for the ranges in `pending` and for everything above `through`
    name    TEXT PRIMARY KEY,
    through INTEGER NOT NULL,
    pending TEXT NOT NULL,               -- [[first,last],...], all <= through; may name positions that were dropped
    waiting INTEGER NOT NULL             -- rows that still exist among `pending`
) WITHOUT ROWID;
INSERT INTO "destination" VALUES('a',6,'[[5,6]]',2);
INSERT INTO "destination" VALUES('b',6,'[[1,1],[3,6]]',5);
CREATE TABLE dropped (                   -- one row per episode of loss
    id                INTEGER PRIMARY KEY,
    reason            TEXT NOT NULL,
    readings          INTEGER NOT NULL,
    first_observed_ns INTEGER NOT NULL,  -- of the readings that were lost
    last_observed_ns  INTEGER NOT NULL,
    since_ns          INTEGER NOT NULL,  -- when they were lost
    until_ns          INTEGER NOT NULL
, first_position INTEGER, last_position INTEGER);
INSERT INTO "dropped" VALUES(1,'max-bytes',1,1800000001000000000,1800000001000000000,1800000003000000000,1800000003000000000,1,6);
CREATE TABLE dropped_for (               -- without a row, an episode of `dropped` counts for all destinations
    episode        INTEGER NOT NULL,     -- dropped.id
    destination    TEXT NOT NULL,        -- '': one that had left before the gateway started
    readings       INTEGER NOT NULL,
    first_position INTEGER NOT NULL,     -- between these two
    last_position  INTEGER NOT NULL,
    PRIMARY KEY (episode, destination)
) WITHOUT ROWID;
CREATE TABLE point_group (               -- what a reading's values mean; written once, so that readings stay small
    id       INTEGER PRIMARY KEY,
    device   TEXT NOT NULL,
    period_s REAL NOT NULL,
    priority TEXT NOT NULL,
    points   TEXT NOT NULL,              -- [{"name":"speed","unit":"m/s"}, ...]
    UNIQUE (device, period_s, priority, points)
);
INSERT INTO "point_group" VALUES(1,'infeed',1.0,'normal','[{"name":"speed","unit":"m/s"},{"name":"running","unit":""}]');
INSERT INTO "point_group" VALUES(2,'infeed',1.0,'high','[{"name":"speed","unit":"m/s"},{"name":"running","unit":""}]');
CREATE TABLE reading (
    id             INTEGER PRIMARY KEY,  -- the position
    group_id       INTEGER NOT NULL,
    observed_at_ns INTEGER NOT NULL,     -- since 1970-01-01 UTC
    body           TEXT NOT NULL,        -- [1.42,true,...] in the order of point_group.points, or {"3":1.42}
    quality        TEXT                  -- NULL: all good; {"3":"bad:timeout"}; "bad:timeout": all points
, checksum INTEGER);
INSERT INTO "reading" VALUES(1,1,5000000000,'[0.5,false]',NULL,NULL);
INSERT INTO "reading" VALUES(3,1,1800000001000000000,'[2.5,true]',NULL,-1161295454);
INSERT INTO "reading" VALUES(4,1,1800000002000000000,'[3.5,true]',NULL,1831519239);
INSERT INTO "reading" VALUES(5,1,1800000003000000000,'[null,true]','{"0":"bad:timeout"}',1779622749);
INSERT INTO "reading" VALUES(6,2,1800000004000000000,'[5.5,true]',NULL,-425900018);
CREATE TABLE retry (                     -- one row for each destination while there is something to do
    destination TEXT PRIMARY KEY,
    through     INTEGER NOT NULL         -- send it again everything in set_aside up to this id
) WITHOUT ROWID;
CREATE TABLE set_aside (                 -- refused for good by a destination; kept for a person to look at
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    destination     TEXT NOT NULL,
    position        INTEGER NOT NULL,
    reason          TEXT NOT NULL,
    set_aside_at_ns INTEGER NOT NULL,
    group_id        INTEGER NOT NULL,
    observed_at_ns  INTEGER NOT NULL,
    body            TEXT NOT NULL,
    quality         TEXT, checksum INTEGER,
    UNIQUE (destination, position)
);
INSERT INTO "set_aside" VALUES(1,'a',4,'0x99 payload format invalid',1800000000000000000,1,1800000002000000000,'[3.5,true]',NULL,1831519239);
CREATE TABLE state (                     -- single facts: epoch, held, running, durability
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;
INSERT INTO "state" VALUES('durability','power-loss');
INSERT INTO "state" VALUES('epoch','5d0e3c21');
INSERT INTO "state" VALUES('held','6 5');
INSERT INTO "state" VALUES('newest_ns','1800000004000000000');
INSERT INTO "state" VALUES('running','');
INSERT INTO "state" VALUES('skipped','[]');
CREATE VIEW waiting AS
SELECT position, device, observed_at, point, value, coalesce(quality, 'good') AS quality, unit
FROM (
    SELECT
        position,
        device,
        strftime('%Y-%m-%dT%H:%M:%S', observed_at_ns / 1000000000, 'unixepoch')
            || printf('.%03dZ', observed_at_ns / 1000000 % 1000) AS observed_at,
        point,
        unit,
        value,
        CASE
            WHEN undated AND value IS NOT NULL THEN 'uncertain:clock-unset'
            WHEN json_type(quality) = 'text' THEN quality ->> '$'
            ELSE json_extract(quality, '$."' || key || '"')
        END AS quality
    FROM (
        SELECT
            reading.id AS position,
            point_group.device AS device,
            reading.observed_at_ns + iif(by_gateway, coalesce(correction_ns, 0), 0) AS observed_at_ns,
            by_gateway AND correction_ns IS NULL AS undated,
            point.key AS key,
            point.value ->> 'name' AS point,
            point.value ->> 'unit' AS unit,
            CASE json_type(reading.body)
                WHEN 'array' THEN json_extract(reading.body, '$[' || point.key || ']')
                ELSE json_extract(reading.body, '$."' || point.key || '"')
            END AS value,
            reading.quality AS quality
        FROM (
            SELECT
                reading.*,
                clock_era.correction_ns,
                clock_era.first_position IS NOT NULL AND reading.observed_at_ns - clock_era.offset_ns
                    BETWEEN 0 AND coalesce(clock_era.ended_boot_ns, 31536000000000000) AS by_gateway
            FROM reading
            LEFT JOIN clock_era ON clock_era.first_position =
                (SELECT max(first_position) FROM clock_era WHERE first_position <= reading.id)
        ) AS reading
        JOIN point_group ON point_group.id = reading.group_id
        JOIN json_each(point_group.points) AS point
    )
)
WHERE value IS NOT NULL OR quality IS NOT NULL;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('set_aside',1);
COMMIT;
