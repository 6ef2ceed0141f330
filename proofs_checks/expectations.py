"""Expected verdicts, read from a file and checked before any work is done."""

from __future__ import annotations

from pathlib import Path

from exactrl.entries import short
from exactrl.errors import ExactRLError
from exactrl.files import read_json
from proofs_checks.claim import registry, select

VERDICTS = ("proved", "certified", "survived", "refuted", "ill-posed", "undecided")


def read_expectations(path: Path) -> dict[str, dict[str, str]]:
    """Read {id: {reading: verdict}}; raises ExactRLError naming the entry that is not of that form."""
    data = read_json(path)
    if not isinstance(data, dict):
        raise ExactRLError(f'{path}: expected an object such as {{"ecpo.lemma1": {{"literal": "refuted"}}}}')
    for id, readings in data.items():
        if not isinstance(readings, dict):
            raise ExactRLError(f"{path}: {id} is {short(readings)}: expected an object {{reading: verdict}}")
        if id not in registry():
            try:
                select([id])
            except ExactRLError as error:
                raise ExactRLError(f"{path}: {error}") from None
            raise ExactRLError(f"{path}: {id} is a source: expected the id of one claim")
        for reading, verdict in readings.items():
            if reading not in ("literal", "intended"):
                raise ExactRLError(f"{path}: {id} has a reading {short(reading)}: expected literal or intended")
            if verdict not in VERDICTS:
                raise ExactRLError(f"{path}: {id} {reading} is {short(verdict)}: expected one of {', '.join(VERDICTS)}")
    return data
