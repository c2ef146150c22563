-- How the wall clock stood when readings were taken, so that those of a clock that was not set can be dated later.

CREATE TABLE clock_era (                  -- holds for the positions from here to the next one
    first_position INTEGER PRIMARY KEY,
    boot_id        TEXT NOT NULL,
    offset_ns      INTEGER NOT NULL,      -- wall clock less boot clock: the wall clock of the moment the machine started
    correction_ns  INTEGER,               -- what observed_at_ns lacks; 0: the clock was set; NULL: nobody knows (yet)
    ended_boot_ns  INTEGER                -- boot clock when that became known; readings with later times have another's
);

DROP VIEW waiting;

-- For people: SELECT * FROM waiting LIMIT 20;
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
