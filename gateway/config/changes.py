"""What differs between two versions of the same settings, for the log: keys, never what they hold."""

from __future__ import annotations

from pydantic import BaseModel


def changed_keys(before: BaseModel, after: BaseModel) -> list[str]:
    """The keys that differ, in the order of the model, those of sections with a dot: `url`, `tls.ca`."""
    changed: list[str] = []
    for key in type(before).model_fields:
        one, other = getattr(before, key), getattr(after, key, None)
        if one == other:
            continue
        if isinstance(one, BaseModel) and isinstance(other, type(one)):
            changed += [f"{key}.{inner}" for inner in changed_keys(one, other)]
        else:
            changed.append(key)
    return changed
