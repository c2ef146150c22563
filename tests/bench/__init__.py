"""`make bench`: what the gateway costs, beside floors measured in the same run.

The gateway has core 0 to itself; simulators, broker and subscriber share core 1, so that on two cores "of one core"
means what it says. Absolute times wander between machines and hours; the ratios to the floors are what to compare.

By itself it measures a load of a few minutes; with `--outage-hour`, `--depth` or `--memory` what only shows when much
is waiting or much time has passed.
"""
