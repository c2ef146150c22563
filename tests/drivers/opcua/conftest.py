"""asyncua knows the types of servers for the whole process: each test here begins without those of others."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from asyncua import ua
from asyncua.ua import uatypes

_REGISTRIES = (
    uatypes.basetype_by_datatype,
    uatypes.basetype_datatypes,
    uatypes.enums_by_datatype,
    uatypes.enums_datatypes,
    uatypes.extension_objects_by_datatype,
    uatypes.extension_objects_by_typeid,
    uatypes.datatype_by_extension_object,
    uatypes.typeid_by_extension_objects,
)


@pytest.fixture(autouse=True)
def types_of_its_own() -> Iterator[None]:
    before, names = [dict(registry) for registry in _REGISTRIES], set(vars(ua))
    yield
    for registry, known in zip(_REGISTRIES, before, strict=True):
        registry.clear()
        registry.update(known)
    for name in set(vars(ua)) - names:
        delattr(ua, name)
