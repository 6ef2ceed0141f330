"""The settings of an algorithm as tables: every field of its configuration, ECPO's Table 4, what a run departs in."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from deeprl.config import CONFIGS, ECAC_TABLE, Config

__all__ = ["Table", "configuration", "departures", "published_table", "shown"]

Table = list[list[str]]
#: Fields that say what was run, for how long and where, rather than how.
INCIDENTAL = {
    *("env_id", "seed", "seeds", "jobs", "total_timesteps", "threads", "device", "compile", "q_limit"),
    *("log_interval", "checkpoint_interval", "tensorboard", "capture_video", "track"),
}


def configuration(config: type[Config]) -> tuple[Table, Table]:
    """Return rows (option, default, range, help): the fields that are the algorithm's own, then those all share."""
    common = {entry.name: entry for entry in dataclasses.fields(Config)}
    own: Table = []
    shared: Table = []
    for entry in dataclasses.fields(config):
        row = [_option(entry), shown(entry.default), _range(entry), entry.metadata["help"]]
        theirs = common.get(entry.name)
        same = theirs is not None and theirs.default == entry.default and theirs.metadata == entry.metadata
        (shared if same else own).append(row)
    return own, shared


def _option(entry: dataclasses.Field[Any]) -> str:
    name = entry.name.replace("_", "-")
    return f"--[no-]{name}" if isinstance(entry.default, bool) else f"--{name}"


def shown(value: Any) -> str:
    """Return a setting as a person reads it."""
    if value is None:
        return "derived"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, (tuple, list)):
        return ", ".join(map(str, value))
    if isinstance(value, float) and not value.is_integer():
        return f"{value:g}"
    return f"{value:,.0f}" if isinstance(value, (int, float)) else str(value)


def _range(entry: dataclasses.Field[Any]) -> str:
    least, most, choices = (entry.metadata[key] for key in ("least", "most", "choices"))
    if isinstance(entry.default, bool):
        return "on, off"
    if choices is not None:
        return ", ".join(map(str, choices))
    if isinstance(entry.default, tuple):
        return "positive integers"
    if least is None and most is None:
        return "any"
    return f"at least {shown(least)}" if most is None else f"{shown(least)} to {shown(most)}"


def published_table() -> tuple[list[str], Table]:
    """Return header and rows of ECPO's Table 4, from the configuration."""
    header = ["environment", "$\\tau$ (`kl_temperature`)", "$\\tau'$ (`entropy_temperature`)", "learning rate"]
    return header, [[env, *map(shown, row)] for env, row in ECAC_TABLE.items()]


def departures(config: Mapping[str, Any], name: str) -> str | None:
    """Return the settings in which a run's config.json differs from the defaults, in words.

    None where it is not that of a run of `exactrl train`.
    """
    if not all(entry.name in config for entry in dataclasses.fields(CONFIGS[name])):
        return None
    default = CONFIGS[name](env_id=config["env_id"])
    filled = default.resolved()
    words = []
    for entry in dataclasses.fields(default):
        given = config[entry.name]
        value = tuple(given) if isinstance(given, list) else given
        usual = (getattr(default, entry.name), getattr(filled, entry.name))
        if entry.name not in INCIDENTAL and value not in usual:
            words.append(f"`{entry.name}` {shown(value)}")
    return ", ".join(words) or "none"
