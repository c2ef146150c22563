"""The parts that the writer puts to work, made and joined: each gets what it needs and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.buffer.backlogs import Backlogs
from gateway.buffer.bounds import Budget
from gateway.buffer.committer import Committer
from gateway.buffer.connections import Connections
from gateway.buffer.drops import Drops
from gateway.buffer.full_disk import FullDisk
from gateway.buffer.intake import Intake
from gateway.buffer.leaving import Leaving
from gateway.buffer.mark import MarkFile
from gateway.buffer.milestones import Milestones
from gateway.buffer.repair import Repair
from gateway.buffer.retention import Retention
from gateway.buffer.retries import Retries
from gateway.buffer.settling import Settler
from gateway.buffer.standing import Opened
from gateway.buffer.store import Store
from gateway.buffer.tail import Tail
from gateway.buffer.timekeeping import Timekeeper
from gateway.buffer.trouble import Trouble
from gateway.clock import Clock
from gateway.config import BufferSettings
from gateway.health import BufferHealth


@dataclass(frozen=True, slots=True)
class Parts:
    """Of one open buffer. All of them belong to the writer's task, and to its event loop."""

    budget: Budget
    backlogs: Backlogs
    tail: Tail
    timekeeper: Timekeeper
    intake: Intake
    committer: Committer
    settler: Settler
    retention: Retention
    retries: Retries
    leaving: Leaving
    full_disk: FullDisk
    repair: Repair
    trouble: Trouble
    drops: Drops
    health: BufferHealth


def assemble(
    settings: BufferSettings,
    *,
    opened: Opened,
    connections: Connections,
    store: Store,
    marks: MarkFile,
    budget: Budget,
    drops: Drops,
    timekeeper: Timekeeper,
    health: BufferHealth,
    clock: Clock,
) -> Parts:
    backlogs, groups = opened.backlogs, opened.groups
    tail = Tail(opened.mark.last)
    intake = Intake(settings.when_full)
    full_disk = FullDisk(settings, store=store, health=health)
    milestones = Milestones(
        opened.milestones,
        latest=opened.latest,
        last=opened.mark.last,
        clock=clock,
        timekeeper=timekeeper,
        max_age_ns=int(settings.max_age * 1e9),
    )
    settler = Settler(store=store, backlogs=backlogs, drops=drops, timekeeper=timekeeper)
    return Parts(
        budget=budget,
        backlogs=backlogs,
        tail=tail,
        timekeeper=timekeeper,
        intake=intake,
        committer=Committer(
            intake,
            mark=opened.mark,
            marks=marks,
            budget=budget,
            store=store,
            backlogs=backlogs,
            groups=groups,
            tail=tail,
            drops=drops,
            health=health,
            timekeeper=timekeeper,
            milestones=milestones,
        ),
        settler=settler,
        retention=Retention(
            settings,
            budget=budget,
            store=store,
            backlogs=backlogs,
            groups=groups,
            tail=tail,
            drops=drops,
            health=health,
            full_disk=full_disk,
            sweeps=opened.sweeps,
            timekeeper=timekeeper,
            milestones=milestones,
            clock_ns=clock.wall_ns,
        ),
        retries=Retries(settings, store=store, settler=settler, backlogs=backlogs, tail=tail, clock_ns=clock.wall_ns),
        leaving=Leaving(store=store, backlogs=backlogs, drops=drops),
        full_disk=full_disk,
        repair=Repair(
            settings,
            connections=connections,
            backlogs=backlogs,
            groups=groups,
            tail=tail,
            settler=settler,
            drops=drops,
            timekeeper=timekeeper,
            clock_ns=clock.wall_ns,
        ),
        trouble=Trouble(settings.path, health),
        drops=drops,
        health=health,
    )
