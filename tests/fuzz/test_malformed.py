"""A thousand malformed inputs, seeded: each is refused by the project's own error or status, never by a traceback.

A case starts from good input and has one thing wrong with it, so that none is good by chance. Each is counted, and
every test holds its count against its share of the promise.
"""

import copy
import json
import random
import subprocess
import sys
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import numpy as np
import pytest
from click.testing import CliRunner

from exactrl import ExactRLError, FiniteMDP, TrajectorySpace
from exactrl.cli import main
from exactrl.policies import AliasedPolicy, SoftmaxLinearPolicy, TabularPolicy, as_log_policy
from proofs_checks import verify as verify_module
from proofs_checks.checker import main as checker
from proofs_checks.claim import registry

PROMISED = 1000
REFUSED: Counter[str] = Counter()
#: how many refusals each test has to see
LEAST = {
    "test_models_from_json": 500,
    "test_models_by_the_constructor": 170,
    "test_policies": 280,
    "test_temperatures_of_trajectory_spaces": 65,
    "test_other_arguments_of_trajectory_spaces": 90,
    "test_certificates": 290,
    "test_instance_files": 110,
    "test_model_files": 90,
    "test_expectation_files": 80,
    "test_command_lines": 135,
    "test_command_lines_in_a_shell": 20,
}
RANDOM = random.Random(20261121)

#: what is no number, wherever a number is expected
NO_NUMBERS = [
    None, True, False, "", "x", "1/0", "nan", "inf", "-inf", "1e", "1/2/3", "1.5/2", "0x10", "١", "1_0", "1e99999",
    "1 / 2", "--1", {}, {"p": 1}, "9" * 6000, "½", "1,5", "\x00", "1e999999999999", [], [[]],
]  # fmt: skip
NO_FLOATS = [float("nan"), float("inf"), -float("inf")]
#: what stands for a number in Python alone
NO_OBJECTS = [1j, b"1", object(), lambda: 1, np.datetime64("2020-01-01"), np.array([1, 2]), {1}, np.bool_(True), int]
NO_STRUCTURES = [
    None,
    True,
    0,
    1.5,
    "",
    "x",
    {},
    {"rows": []},
    [],
    [[]],
    [[[]]],
    [None],
    ["x"],
    [[1], [2, 3]],
    [[1, [2]]],
]


@pytest.fixture(autouse=True)
def counted(request):
    """Hold the number of refusals that a test has seen against its share."""
    before = sum(REFUSED.values())
    yield
    assert sum(REFUSED.values()) - before >= LEAST.get(request.node.originalname, 0)


def leaves(data, path=()):
    """Every number and string in nested data, by path."""
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else None
    if items is None:
        yield path
    else:
        for key, value in items:
            yield from leaves(value, (*path, key))


def changed(data, path, value):
    if not path:
        return value
    result = copy.deepcopy(data)
    here = result
    for key in path[:-1]:
        here = here[key]
    here[path[-1]] = value
    return result


def without(data, name):
    return {key: value for key, value in data.items() if key != name}


def refuse(kind, call, shown):
    """Count a refusal; anything but ExactRLError is an error of the library, acceptance too."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            result = call()
        except ExactRLError as error:
            message = str(error)
            assert message, shown
            assert len(message) < 10_000, "a message that can be read"
            REFUSED[kind] += 1
            return
        except Exception as error:
            raise AssertionError(f"{kind}: {shown!r} ended in {type(error).__name__}: {error}") from error
    raise AssertionError(f"{kind}: {shown!r} was accepted as {result!r}")


# ------------------------------------------------------------------------------------------------------------ models

THIRD = "1/3"
DENSE = {
    "schema": "exactrl.mdp/1",
    "n_states": 2,
    "n_actions": 2,
    "horizon": 2,
    "discount": "1/2",
    "initial": [THIRD, "2/3"],
    "transitions": [[[THIRD, "2/3"], [1, 0]], [[0, 1], ["1/4", "3/4"]]],
    "rewards": [[1, -2], [0.5, "7/3"]],
}
SPARSE = DENSE | {
    "transitions": {"rows": [0, 0, 1, 2, 3], "cols": [0, 1, 0, 1, 1], "values": [THIRD, "2/3", 1, 1, 1]},
    "rewards": {"rows": [0, 3], "cols": [1, 1], "values": [0.5, "-1/3"]},
}


def broken_models():
    for model in (DENSE, SPARSE):
        for path in leaves(model):
            if path == ("schema",):
                continue
            for value in RANDOM.sample(NO_NUMBERS, 6):
                if path == ("horizon",) and value is None:
                    continue  # no horizon, and a discount below 1
                yield changed(model, path, value)
        for path in leaves(without(model, "horizon") | {"schema": []}):
            if path[0] in ("initial", "transitions") and "rows" not in path and "cols" not in path:
                yield from (changed(model, path, value) for value in ("-1/7", "8/7", 2, -1, 1e-3))
        for name in model:
            yield without(model, name)
            yield from (changed(model, (name,), value) for value in RANDOM.sample(NO_STRUCTURES[3:], 5))
            yield model | {name.upper(): model[name]}
    for name, values in {
        "schema": ["exactrl.mdp/2", "exactrl.mdp", "", 1, None, "EXACTRL.MDP/1"],
        "n_states": [0, -1, 1, 3, 2.0, "2", None, 10**30],
        "n_actions": [0, -2, 1, 3, 2.0, "2", None, 10**30],
        "horizon": [0, -1, 1.0, 2.5, "2", [2], True],
        "discount": [-1, 2, "3/2", "-1/2", 1.0000001, [1], None, "x"],
    }.items():
        yield from (DENSE | {name: value} for value in values)
    yield DENSE | {"horizon": None, "discount": 1}
    for part, values in {
        "rows": [
            [0],
            [0, 0, 1, 2, 4],
            [-1, 0, 1, 2, 3],
            [0, 0, 1, 2, 3.0],
            [0, 0, 1, 2, "3"],
            0,
            None,
            [[0], 0, 1, 2, 3],
        ],
        "cols": [[0], [0, 1, 0, 1, 2], [0, 0, 0, 1, 1], [0, 1, 0, 1, 10**30], [0, 1, 0, 1, True], "01011", {}],
        "values": [[1], [THIRD, "2/3", 1, 1], [THIRD, THIRD, 1, 1, 1], [[THIRD, "2/3", 1, 1, 1]], None, "11111"],
    }.items():
        yield from (changed(SPARSE, ("transitions", part), value) for value in values)
    yield from (None, [], 7, "x", [DENSE], {}, {"schema": "exactrl.mdp/1"})


def test_models_from_json():
    for good in (DENSE, SPARSE):
        assert FiniteMDP.from_dict(good).horizon == 2
    for model in broken_models():
        refuse("model, JSON", lambda model=model: FiniteMDP.from_dict(model), model)


def test_models_by_the_constructor():
    transitions, rewards = DENSE["transitions"], DENSE["rewards"]
    good = {"transitions": transitions, "rewards": rewards, "horizon": 2, "discount": 1, "initial": None}
    assert FiniteMDP(**good).n_states == 2

    def bad(**options):
        refuse("model, constructor", lambda: FiniteMDP(**good | options), options)

    for name in ("transitions", "rewards"):
        for path in leaves(good[name]):
            for value in (*NO_FLOATS, *RANDOM.sample(NO_OBJECTS, 4)):
                bad(**{name: changed(good[name], path, value)})
        for value in (*NO_STRUCTURES, *NO_OBJECTS):
            bad(**{name: value})
        array = np.array([[[float(Fraction(x)) for x in row] for row in rows] for rows in transitions])
        for value in (array[0, 0], array[:, :, :1], array[:1], array.astype(complex), array[None]):
            bad(**{name: value})
        for value in (array.astype(object) * np.nan, np.empty((0, 2, 0)), np.empty((2, 0, 2)), array.astype("S")):
            bad(**{name: value})
    array[0, 0] *= 1.001
    bad(transitions=array)
    for horizon in (0, -1, 1.5, "2", True, np.float64(2), [2], np.array([2]), float("nan"), 1j, object()):
        bad(horizon=horizon)
    for discount in (-0.1, 1.1, *NO_FLOATS, "x", None, True, [0.5], 1j, object(), np.array([1.0, 1.0])):
        bad(discount=discount)
    for initial in (2, -1, 1.5, True, "0", [1], [0.5, 0.6], [2, -1], [[0.5, 0.5]], {}, [None, 1], [float("nan"), 1]):
        bad(initial=initial)
    bad(horizon=None)
    model = FiniteMDP(**good)
    for change in ({"steps": 3}, {"horizon": 0}, {"rewards": [[1]]}, {"initial": 7}, {"transitions": [[[2]]]}):
        refuse("model, replace", lambda change=change: model.replace(**change), change)


# ---------------------------------------------------------------------------------------------------------- policies

MODEL = FiniteMDP.from_dict(DENSE)
SPACE = TrajectorySpace(MODEL)
HALF = [[0.5, 0.5], [0.25, 0.75]]


class Liar:
    """A policy object that answers with whatever it was given."""

    def __init__(self, answer):
        self.answer = answer

    def log_probabilities(self, horizon):
        return self.answer


def broken_tables():
    for table in (HALF, [HALF, HALF], [["1/2", "1/2"], ["1/4", "3/4"]]):
        for path in leaves(table):
            for value in (
                *RANDOM.sample(NO_NUMBERS, 4),
                *NO_FLOATS,
                *RANDOM.sample(NO_OBJECTS, 2),
                0.6,
                -0.5,
                2,
                "1/7",
            ):
                yield changed(table, path, value)
    yield from NO_STRUCTURES
    yield from NO_OBJECTS
    array = np.array(HALF)
    yield from (array[0], array[:1], array[:, :1], array[None, None], array + 0j, array * 0, -array)
    yield from (np.stack([array] * 3), np.stack([array]), np.full((2, 3), 1 / 3), np.full((3, 2), 0.5), array.T @ array)
    yield from (np.empty((0, 2)), np.empty((2, 0)), np.float64(0.5), np.array(["a", "b"]), np.array(None))


def test_policies():
    sizes = {"horizon": 2, "n_states": 2, "n_actions": 2}
    assert as_log_policy(HALF, **sizes).shape == (2, 2, 2)
    for table in broken_tables():
        refuse("policy, array", lambda table=table: as_log_policy(table, **sizes), table)
    for answer in (
        None, [], 0, "x", np.zeros((2, 2, 2)), np.full((2, 2), np.log(0.5)), np.full((2, 2, 2), np.nan),
        np.full((3, 2, 2), np.log(0.5)), np.full((2, 2, 2), 1.0), [[["a"]]], np.full((2, 2, 2), -np.inf), {}, object(),
    ):  # fmt: skip
        refuse("policy, object", lambda answer=answer: as_log_policy(Liar(answer), **sizes), answer)
    for policy in (Liar, TabularPolicy, object(), lambda: 0, {}, 3, "uniform", None, {0: 1}, {1, 2}):
        refuse("policy, object", lambda policy=policy: as_log_policy(policy, **sizes), policy)
    for horizon in (0, -1, 1.5, "2", None, True, [2]):
        refuse("policy, horizon", lambda h=horizon: TabularPolicy(HALF).log_probabilities(h), horizon)
    for seen in ([0, 2], [0, -1], [0.5, 1], ["a", 0], None, 0, [[0, 1]], [None, 1], [True, "x"], {}, [np.nan, 0]):
        refuse("policy, aliased", lambda seen=seen: AliasedPolicy(seen, HALF), seen)
    features = [[[1.0], [2.0]], [[0.0], [1.0]]]
    for bad in (*NO_STRUCTURES, [[["x"]]], [[[np.nan]]], np.zeros((2, 2)), np.zeros((2, 2, 3))):
        refuse("policy, softmax", lambda bad=bad: SoftmaxLinearPolicy(bad, [1.0]), bad)
    for bad in ([1.0, 2.0], [], None, "x", 1.0, [np.inf], ["a"], [[1.0]], [None], {}):
        refuse("policy, softmax", lambda bad=bad: SoftmaxLinearPolicy(features, bad), bad)


# --------------------------------------------------------------------------------------------------------- arguments

TEMPERATURES = [(0, 0), (1, -1), (-1, 0.5), (np.nan, 1), (1, np.nan), (np.inf, 1), (1, -np.inf), (-np.inf, np.inf)]
TEMPERATURES += [(value, 1) for value in (*NO_NUMBERS, *NO_OBJECTS)] + [(1, value) for value in NO_NUMBERS[:10]]
TEMPERATURES += [(10**400, 1), (1e308, 1e308), (1e-320, 0), (Fraction(1, 3), Fraction(-1, 3))]


@pytest.mark.parametrize("name", ["surrogate", "lifted_return", "surrogate_enclosure"])
def test_temperatures_of_trajectory_spaces(name):
    method = getattr(SPACE, name)
    assert method(HALF, tau=1, tau_prime="1/2") is not None
    for tau, tau_prime in TEMPERATURES:
        if name == "surrogate_enclosure" and isinstance(tau, (int, float)) and not 0 <= abs(tau) <= 1:
            continue  # the balls have room for them
        call = lambda tau=tau, tau_prime=tau_prime: method(HALF, tau=tau, tau_prime=tau_prime)
        refuse(f"{name}, temperatures", call, (tau, tau_prime))
    for policy in NO_STRUCTURES:
        refuse(f"{name}, policy", lambda policy=policy: method(policy, tau=1, tau_prime=1), policy)


def test_other_arguments_of_trajectory_spaces():
    calls = {
        "surrogate": lambda method: SPACE.surrogate(HALF, tau=1, tau_prime=1, method=method),
        "lifted_return": lambda method: SPACE.lifted_return(HALF, tau=1, tau_prime=1, method=method),
        "expected_return": lambda method: SPACE.expected_return(HALF, method=method),
        "policy_entropy": lambda method: SPACE.policy_entropy(HALF, method=method),
    }
    for name, call in calls.items():
        for method in ("", "Recursion", "enumerate", None, 0, True, [], ["recursion"], b"recursion", object()):
            refuse(f"{name}, method", lambda call=call, method=method: call(method), method)
    for name in ("expected_return", "policy_entropy", "enumerate"):
        for policy in NO_STRUCTURES:
            refuse(f"{name}, policy", lambda n=name, policy=policy: getattr(SPACE, n)(policy), policy)
    for bits in (0, 1, -1, 1.5, "128", None, True, [128]):
        call = lambda bits=bits: SPACE.surrogate_enclosure(HALF, tau=1, tau_prime=1, bits=bits)
        refuse("surrogate_enclosure, bits", call, bits)
    few = TrajectorySpace(MODEL, enumeration_limit=3)
    refuse("limit", lambda: few.enumerate(HALF), 3)
    refuse("limit", lambda: few.surrogate(HALF, tau=1, tau_prime=1, method="enumeration"), 3)
    refuse("horizon", lambda: TrajectorySpace(MODEL.replace(horizon=None)), None)


# ------------------------------------------------------------------------------------------------------ certificates

GOOD = {
    "schema": "exactrl.certificate/1",
    "claim": "ecpo.sec3.nonzero",
    "reading": "literal",
    "verdict": "refuted",
    "instance": {"reference": ["1", "0"], "returns": ["0", "0"], "tau": "1", "tau_prime": "0"},
    "condition": "positive",
    "component": [],
    "left": "0",
    "relation": ">",
    "right": "0",
    "precision": 64,
    "reason": None,
}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A true certificate, written by verify."""
    folder = tmp_path_factory.mktemp("certificate")
    (folder / "mine.json").write_text(json.dumps(GOOD["instance"]))
    arguments = ["verify", GOOD["claim"], "--instance", folder / "mine.json", "--out", folder / "out"]
    assert CliRunner().invoke(main, [str(a) for a in arguments]).exit_code == 0
    data = json.loads((folder / "out" / "certificates" / "ecpo.sec3.nonzero.literal.json").read_text())
    assert checker.check(json.dumps(data).encode())
    return data


def test_certificates(certificate, tmp_path, capsys):
    files = []
    for path in leaves(certificate):
        files += [changed(certificate, path, v) for v in RANDOM.sample([v for v in NO_NUMBERS if v is not None], 5)]
        files += [changed(certificate, path, v) for v in (1.5, -3, "2/4", "-0", "01", "+1", " 1", "1/1", [0])]
    for name in certificate:
        files += [without(certificate, name), certificate | {name + "_": 1}, certificate | {name: {}}]
    files += [None, [], 7, "x", {}, [certificate], {"certificate": certificate}]
    text = json.dumps(certificate)
    texts = [t for t in map(json.dumps, files) if t != text]
    texts += [text[:length] for length in range(0, len(text), 9)]
    texts += ["", "\x00", text + text, text + ",", "NaN", "[" * 5000]
    texts += [text.replace("64", "64.0"), text.replace(":", "=")]
    for i, data in enumerate([*texts, b"\xff\xfe\x00", b"\xef\xbb\xbf" + text.encode()]):
        path = tmp_path / f"{i}.json"
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        status = checker.main([str(path)])
        line = capsys.readouterr().out
        assert status == 1, data
        assert line.startswith(f"REJECTED {path}: "), (line, data)
        assert len(line.splitlines()) == 1
        REFUSED["certificate"] += 1


# -------------------------------------------------------------------------------------- files and the command line


def refuse_command(kind, arguments, out):
    result = CliRunner().invoke(main, [str(a) for a in arguments], catch_exceptions=True)
    shown = " ".join(map(str, arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise AssertionError(f"exactrl {shown} ended in {result.exception!r}") from result.exception
    assert result.exit_code == 2, (shown, result.output)
    assert "Traceback" not in result.output
    assert result.stderr.strip()
    assert result.stdout == ""
    assert not out.exists(), f"exactrl {shown} left a folder behind"
    REFUSED[kind] += 1


CLAIM = "ecpo.sec3.nonzero"
INSTANCE = {"reference": ["1/2", "1/2"], "returns": ["0", "7"], "tau": "1", "tau_prime": "1/2"}
EXPECTED = {CLAIM: {"literal": "refuted", "intended": "survived"}}
TEXTS = ["", "{", "[]", "7", "null", '"x"', "{]", '{"a": 1, "a": 2}', "NaN", "{'tau': 1}", "\x00", "1e999", "{}"]
TEXTS.append("[" * 5000)


def test_instance_files(tmp_path, monkeypatch):
    monkeypatch.setattr(verify_module, "judge", lambda piece: pytest.fail("work was begun"))
    cases = [changed(INSTANCE, path, value) for path in leaves(INSTANCE) for value in RANDOM.sample(NO_NUMBERS, 9)]
    cases += [changed(INSTANCE, ("reference", i), value) for i in (0, 1) for value in ("1/3", "-1/2", 2, 0.4)]
    cases += [without(INSTANCE, name) for name in INSTANCE] + [INSTANCE | {name + "s": "1"} for name in INSTANCE]
    cases += [INSTANCE | {name: value} for name in ("reference", "returns") for value in (*NO_STRUCTURES, [["1", "0"]])]
    cases += [INSTANCE | {"tau": value} for value in ("0", "-1", 0, -1.5, ["1"])]
    path = tmp_path / "mine.json"
    for text in [*map(json.dumps, cases), *TEXTS]:
        path.write_text(text)
        refuse_command("--instance", ["verify", CLAIM, "--instance", path, "--out", tmp_path / "out"], tmp_path / "out")


def test_model_files(tmp_path, monkeypatch):
    monkeypatch.setattr(verify_module, "judge", lambda piece: pytest.fail("work was begun"))
    cases = RANDOM.sample([model for model in broken_models() if model is not None], 80)
    path = tmp_path / "model.json"
    cases += [DENSE, SPARSE]  # good ones, but stochastic: not of this claim
    for text in [*map(json.dumps, cases), *TEXTS]:
        path.write_text(text)
        refuse_command("--mdp", ["verify", CLAIM, "--mdp", path, "--out", tmp_path / "out"], tmp_path / "out")


def test_expectation_files(tmp_path, monkeypatch):
    monkeypatch.setattr(verify_module, "judge", lambda piece: pytest.fail("work was begun"))
    cases = [changed(EXPECTED, path, value) for path in leaves(EXPECTED) for value in NO_NUMBERS]
    cases += [changed(EXPECTED, (CLAIM,), value) for value in (None, True, 0, 1.5, "", "refuted", [], [["literal"]])]
    cases += [{CLAIM: {name: "refuted"}} for name in ("", "Literal", "both", "literal ", "\n")]
    cases += [{id: {"literal": "refuted"}} for id in ("", "ecpo", "x", CLAIM + ".", CLAIM.upper(), "ecpo.lemma1")]
    path = tmp_path / "expected.json"
    for text in [*map(json.dumps, cases), *(t for t in TEXTS if t != "{}")]:
        path.write_text(text)
        refuse_command("--expect", ["verify", CLAIM, "--expect", path, "--out", tmp_path / "out"], tmp_path / "out")


def command_lines(out):
    ids = list(registry())
    for command in ("claims", "verify"):
        rest = ["--out", out] if command == "verify" else []
        for _ in range(25):
            letters = list(RANDOM.choice(ids))
            letters[RANDOM.randrange(len(letters))] = RANDOM.choice("QZ%/ é\t")
            yield [command, "".join(letters), *rest]
        yield from ([command, id, *rest] for id in (" ", "ecpo.", ".", "*", "\x1b[31m", "x" * 3000, "ecpo ecpo", "🎲"))
    yield ["verify", "", "--out", out]
    yield from (["verify", CLAIM, "--out", out, "--seed", v] for v in ("-1", "x", "1.5", "", "1e3", "½", "0x1"))
    yield from (["verify", CLAIM, "--out", out, "--jobs", v] for v in ("0", "-2", "two", "1.0", "", "nan"))
    yield from (["verify", CLAIM, "--out", out, "--profile", v] for v in ("", "slow", "QUICK ", "1"))
    yield from ([word] for word in ("", "verifi", "--frobnicate", "-x", "check", "demo extra", "claims;ls", "../main"))
    for command in ("claims", "verify", "check", "demo"):
        yield from ([command, option] for option in ("--frobnicate", "-z", "--json=1", "--out", "--seed"))
    yield from (["demo", "--seed", v] for v in ("-1", "x", "", "1.5"))
    yield ["demo", "more"]
    yield ["claims", "ecpo", "ecpo"]
    for option in ("--instance", "--mdp", "--expect"):
        for path in ("/nowhere/x.json", "/", "", "\x01", "x" * 5000):
            yield ["verify", CLAIM, option, path, "--out", out]
        yield ["verify", CLAIM, option]
    yield ["verify", "--instance", "x.json", "--out", out]
    yield ["verify", CLAIM, "--instance", "x.json", "--mdp", "y.json", "--out", out]
    yield from (["verify", CLAIM, "--out", folder] for folder in ("/dev/null", "/dev/null/x", "/proc/x", __file__))


def test_command_lines(tmp_path, monkeypatch):
    monkeypatch.setattr(verify_module, "judge", lambda piece: pytest.fail("work was begun"))
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "out"
    for arguments in command_lines(out):
        refuse_command("command line", arguments, out)
    assert not list(tmp_path.iterdir())


def test_command_lines_in_a_shell(tmp_path):
    """The same through real processes: nothing on the way to the command prints a traceback either."""
    (tmp_path / "bad.json").write_text("{")
    lines = RANDOM.sample([a for a in command_lines(tmp_path / "out") if "\x00" not in "".join(map(str, a))], 16)
    lines += [["check", "bad.json", "bad.json"], ["check", "none.json"], ["check", "."], ["check", "--", "--json"]]

    def shell(arguments):
        command = [sys.executable, "-m", "exactrl.cli", *map(str, arguments)]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, encoding="utf-8", check=False, timeout=60)

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(shell, lines))
    for arguments, finished in zip(lines, results, strict=True):
        assert finished.returncode == (1 if "bad.json" in arguments else 2), (arguments, finished)
        assert "Traceback" not in finished.stdout + finished.stderr
        REFUSED["shell"] += 1


def test_a_thousand_are_refused():
    assert sum(LEAST.values()) >= PROMISED
