"""Configurations: what they refuse, what they resolve, and that their plain form gives them back."""

import dataclasses
import json
import math
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deeprl.config import CONFIGS, ECAC_TABLE, Config, from_dict
from exactrl import ExactRLError
from tests.deeprl.small_runs import ROOT

FIELDS = [(kind, entry) for kind in CONFIGS.values() for entry in dataclasses.fields(kind)]


def values(kind, entry):
    """What a field may hold, as its declaration says."""
    limits, default = entry.metadata, entry.default
    if entry.name == "hidden_sizes":
        return st.lists(st.integers(1, 4096), max_size=4).map(tuple)
    if limits["choices"]:
        return st.sampled_from(limits["choices"])
    if isinstance(default, bool):
        return st.booleans()
    if isinstance(default, str):
        return st.text(max_size=20)
    least, most = limits["least"], limits["most"]
    if isinstance(default, int):
        return st.integers(int(least), int(most or 2**63))
    numbers = st.floats(least, most, allow_nan=False, allow_infinity=False)
    return st.none() | numbers if default is None else numbers


@st.composite
def configs(draw):
    kind = draw(st.sampled_from(list(CONFIGS.values())))
    chosen = {
        entry.name: draw(values(kind, entry)) for entry in dataclasses.fields(kind) if draw(st.integers(0, 3)) == 0
    }
    chosen["num_envs"] = draw(st.integers(1, 64))
    chosen["buffer_size"] = draw(st.integers(64, 10**7))
    if kind.algorithm.startswith("sac"):
        chosen["alpha"] = draw(st.floats(1e-6, 1e6))
    return kind(**chosen)


@settings(max_examples=80, deadline=None)
@given(configs())
def test_the_plain_form_gives_the_configuration_back(config):
    assert from_dict(config.as_dict()) == config
    assert from_dict(json.loads(json.dumps(config.as_dict()))) == config


@settings(max_examples=40, deadline=None)
@given(configs())
def test_what_is_resolved_is_resolved_for_good(config):
    if config.algorithm == "ecac" and config.kl_temperature == 0:
        config = config.replace(kl_temperature=0.5)
    resolved = config.resolved()
    assert resolved.resolved() == resolved
    assert from_dict(resolved.as_dict()) == resolved


@pytest.mark.parametrize(("kind", "entry"), FIELDS, ids=lambda value: getattr(value, "algorithm", None) or value.name)
def test_every_option_is_explained_and_refuses_what_it_cannot_be(kind, entry):
    assert entry.metadata["help"]
    kind()  # the defaults are possible
    wrong = ["x", True, 2.5, math.nan, math.inf, -math.inf, None, [1], b"1"]
    if isinstance(entry.default, bool):
        wrong = ["x", 1, 0, None, "true"]
    elif isinstance(entry.default, str):
        wrong = [1, None, True, *(["x"] if entry.metadata["choices"] else [])]
    elif isinstance(entry.default, tuple):
        wrong = ["256,256", 256, None, (0,), (16, 2.0), (-1,), (True,), [16, 0]]
    elif isinstance(entry.default, float):
        wrong = [value for value in wrong if value != 2.5]
    elif entry.default is None:
        wrong = [value for value in wrong if value is not None and value != 2.5]
    least, most = entry.metadata["least"], entry.metadata["most"]
    wrong += [] if least is None else [least - 1, least - 0.001 if not isinstance(entry.default, int) else least - 2]
    wrong += [] if most is None else [most + 1]
    for value in wrong:
        with pytest.raises(ExactRLError, match=rf"^{entry.name} is .*: expected "):
            kind(**{entry.name: value})
    for value in (least, most):
        if value is not None and not (entry.name == "alpha" and value == 0):
            kind(**{entry.name: value})


def test_the_words_of_a_refusal():
    for changes, message in [
        ({"batch_size": 0}, "batch_size is 0: expected at least 1"),
        ({"gamma": 1.5}, "gamma is 1.5: expected between 0 and 1"),
        ({"total_timesteps": 1e6}, "total_timesteps is 1000000.0: expected an integer"),
        ({"learning_rate": math.nan}, "learning_rate is nan: expected a finite number"),
        ({"optimizer": "lion"}, "optimizer is 'lion': expected one of adam, sgd"),
        ({"hidden_sizes": (64, 0)}, "hidden_sizes is (64, 0): expected integers of at least 1, such as (256, 256)"),
        ({"buffer_size": 7, "num_envs": 8}, "buffer_size is 7: expected at least num_envs, which is 8"),
        ({"alpha": 0.0}, "alpha is 0.0: expected more than 0, for autotune adapts its logarithm"),
    ]:
        with pytest.raises(ExactRLError) as caught:
            CONFIGS["sac"](**changes)
        assert str(caught.value) == message
    assert CONFIGS["sac"](alpha=0, autotune=False).alpha == 0


def test_a_list_of_widths_is_a_tuple():
    assert CONFIGS["td3"](hidden_sizes=[32, 16]) == CONFIGS["td3"](hidden_sizes=(32, 16))


def test_unknown_names():
    with pytest.raises(ExactRLError, match=r"^td3 has no option alpha, speed: it has batch_size, "):
        from_dict({"algorithm": "td3", "alpha": 1.0, "speed": 3})
    for name in ("reinforce", None, ["sac"]):
        with pytest.raises(ExactRLError, match=r"expected one of sac, sac-score, td3, ddpg, ecac$"):
            from_dict({"algorithm": name})


@pytest.mark.parametrize("env_id", ["Hopper-v4", "Hopper-v5", "gym_robots/Hopper-v3", "Pendulum-v1"])
def test_the_paper_s_table_fills_in_what_is_not_given(env_id):
    kind = CONFIGS["ecac"]
    found = kind(env_id=env_id).resolved()
    assert (found.kl_temperature, found.entropy_temperature, found.learning_rate) == ECAC_TABLE["Hopper"]
    given_too = kind(env_id=env_id, entropy_temperature=0.3, learning_rate=1e-3).resolved()
    assert (given_too.kl_temperature, given_too.entropy_temperature, given_too.learning_rate) == (0.5, 0.3, 1e-3)
    assert kind(env_id=env_id, entropy=False).resolved().entropy_temperature == 0


def test_ecac_without_any_temperature_is_refused():
    with pytest.raises(ExactRLError, match=r"kl_temperature \+ entropy_temperature is 0: ECAC divides by it"):
        CONFIGS["ecac"](kl_temperature=0, entropy=False).resolved()


def test_what_may_change_in_a_run_are_options():
    assert set(Config.FREE) <= {entry.name for entry in dataclasses.fields(Config)}


def test_configurations_and_help_need_no_torch():
    program = (
        "import sys, deeprl, deeprl.commands; from deeprl.config import CONFIGS; CONFIGS['sac'](seed=1).as_dict();"
        "print([name for name in ('torch', 'gymnasium', 'mujoco') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
