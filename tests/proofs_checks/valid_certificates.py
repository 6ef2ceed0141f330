"""The certificates that are true: one or more of every row of the checker's table, both sides by another road."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from proofs_checks.checker import main as checker
from tests.proofs_checks import (
    ecpo_certificates,
    mpo_certificates,
    mpo_proposition3_certificates,
    mpo_section3_certificates,
    mpo_steps_certificates,
    soft_q_appendix_certificates,
    soft_q_certificates,
    soft_q_particles_certificates,
    soft_q_section_certificates,
)
from tests.proofs_checks.second_routes import Certificate, ill_posed, refuted

SOURCES = (
    ecpo_certificates,
    mpo_certificates,
    mpo_section3_certificates,
    mpo_steps_certificates,
    mpo_proposition3_certificates,
    soft_q_certificates,
    soft_q_section_certificates,
    soft_q_appendix_certificates,
    soft_q_particles_certificates,
)
#: fields that cannot move the values of a claim's certificates: a change may leave a certificate that is still true
IDLE: dict[str, set[str]] = {claim: fields for source in SOURCES for claim, fields in source.IDLE.items()}


def certificates() -> list[Certificate]:
    """Those of every source, in its order; no two share a list."""
    found = []
    for source in SOURCES:
        found += [refuted("literal", row) for row in source.INSTANCES]
        found += [refuted("intended", row) for row in getattr(source, "INTENDED", ())]
        found += [ill_posed(*row) for row in getattr(source, "ILL_POSED", ())]
    return copy.deepcopy(found)


CERTIFICATES = certificates()
every_certificate = pytest.mark.parametrize(
    "certificate", CERTIFICATES, ids=[f"{c['claim']}-{c['reading']}-{i}" for i, c in enumerate(CERTIFICATES)]
)


def named(claim: str, reading: str = "literal", **instance: Any) -> Certificate:
    """The first certificate of a reading, some instance fields replaced."""
    found = copy.deepcopy(next(c for c in CERTIFICATES if (c["claim"], c["reading"]) == (claim, reading)))
    found["instance"] |= instance
    return found


def bytes_of(content: Any) -> bytes:
    """The content of a file: bytes as they are, anything else as JSON."""
    return content if isinstance(content, bytes) else json.dumps(content).encode()


def accepted(content: Any) -> str:
    """The sentence on what the certificate shows."""
    return checker.check(bytes_of(content))


def rejected(content: Any) -> str:
    """The reason; any other exception, which main would turn into a rejection too, fails the test."""
    with pytest.raises(checker.Rejected) as why:
        checker.check(bytes_of(content))
    assert str(why.value).isprintable()
    return str(why.value)
