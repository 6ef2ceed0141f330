"""The JSON Schemas: whatever the library writes has the promised form, and what is broken has not."""

import copy
import json
from fractions import Fraction
from importlib.resources import files

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from exactrl import ExactRLError, FiniteMDP, sources
from proofs_checks import falsify
from proofs_checks.checker import main as checker
from proofs_checks.claim import Check, Claim, registry, select
from proofs_checks.fields import Real
from proofs_checks.instances import Space
from proofs_checks.verify import own_pieces, verify

NAMES = {"mdp": "exactrl", "certificate": "proofs_checks", "verdicts": "proofs_checks"}
IDS = ("ecpo.eq5.lift", "ecpo.lemma1", "ecpo.sec3.nonzero", "ecpo.prop2.fixed", "ecpo.lemma7", "ecpo.appd.policy")


def schema(name):
    return json.loads((files(NAMES[name]) / "schemas" / f"{name}.v1.json").read_text(encoding="utf-8"))


VALIDATORS = {name: Draft202012Validator(schema(name)) for name in NAMES}


def accepts(name, data):
    return VALIDATORS[name].is_valid(json.loads(json.dumps(data)))


def assert_valid(name, data):
    VALIDATORS[name].validate(json.loads(json.dumps(data)))


# -------------------------------------------------------------------------------------------- the schemas themselves


def objects(part, path=()):
    """Every sub-schema with its path."""
    if isinstance(part, dict):
        yield path, part
        for key, value in part.items():
            yield from objects(value, (*path, key))
    elif isinstance(part, list):
        for i, value in enumerate(part):
            yield from objects(value, (*path, i))


@pytest.mark.parametrize("name", NAMES)
def test_a_schema_is_versioned_strict_and_described(name):
    data = schema(name)
    Draft202012Validator.check_schema(data)
    assert data["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert data["$id"] == f"urn:exactrl:schema:{name}:1"
    assert data["properties"]["schema"]["const"] == f"exactrl.{name}/1"
    assert data["title"]
    assert data["description"]
    for path, part in objects(data):
        if part.get("type") == "object":
            assert "additionalProperties" in part, path
        if len(path) >= 2 and path[-2] == "properties" and not {"if", "then", "else", "allOf", "oneOf"} & set(path):
            assert "title" in part or "$ref" in part, path
    assert data["additionalProperties"] is False


# ------------------------------------------------------------------------------------------------------------ models


def models():
    third = Fraction(1, 3)
    rng = np.random.default_rng(0)
    rows = np.array([[[third, 1 - third], [1, 0]], [[0, 1], [third, 1 - third]]], dtype=object)
    exact = FiniteMDP(rows, [[["1/2", 0], [-3, 1]], [[0, 0], [10**30, "-1/7"]]], horizon=3, initial=["1/3", "2/3"])
    floats = FiniteMDP(rng.dirichlet(np.ones(3), size=(3, 2)), rng.normal(size=(3, 2)) * 1e30, discount=0.9)
    yield from (exact, exact.sparse(), floats, floats.sparse(), FiniteMDP([[[1]]], [[0]], horizon=1))
    yield FiniteMDP([[[1.0]]], [[-0.0]], discount="99/100", initial=0)
    yield sources.bandit(["1/3", 2, -1])
    yield sources.bandit([0.25, 1e-300])
    yield sources.tree(2, 3, seed=1)
    yield sources.tree(3, 2, seed=1, exact=True)
    yield sources.chain(5, horizon=4)
    yield sources.grid(3, 4, discount="9/10")
    yield sources.river_swim(6, horizon=5, sparse=True)
    yield sources.garnet(6, 3, 2, seed=0, horizon=2)
    yield sources.garnet(6, 3, 2, seed=0, exact=True, discount=0.5)


@pytest.mark.parametrize("model", list(models()), ids=repr)
def test_every_model_that_is_written_has_the_form(model, tmp_path):
    model.save(tmp_path / "model.json")
    data = json.loads((tmp_path / "model.json").read_text())
    assert_valid("mdp", data)
    assert FiniteMDP.from_dict(data) == model


def toy_text():
    pytest.importorskip("gymnasium")
    return sources.toy_text("FrozenLake-v1", horizon=4)


def test_a_toy_text_model_has_the_form():
    assert_valid("mdp", toy_text().to_dict())


MODEL = {
    "schema": "exactrl.mdp/1",
    "n_states": 2,
    "n_actions": 1,
    "horizon": 2,
    "discount": 1,
    "initial": [1, 0],
    "transitions": [[["1/3", "2/3"]], [[0, 1]]],
    "rewards": {"rows": [0, 1], "cols": [1, 0], "values": [0.5, "-7/2"]},
}
BROKEN_MODELS = [
    *({key: value for key, value in MODEL.items() if key != name} for name in MODEL),
    MODEL | {"name": "mine"},
    *(MODEL | {name: None} for name in MODEL if name != "horizon"),
    *(MODEL | {name: {}} for name in MODEL),
    *(MODEL | {name: True} for name in MODEL),
    MODEL | {"schema": "exactrl.mdp/2"},
    MODEL | {"n_states": 0},
    MODEL | {"n_states": "2"},
    MODEL | {"n_actions": 1.5},
    MODEL | {"horizon": 0},
    MODEL | {"horizon": -3},
    MODEL | {"horizon": "2"},
    MODEL | {"discount": 1.01},
    MODEL | {"discount": -1},
    MODEL | {"discount": "half"},
    MODEL | {"initial": []},
    MODEL | {"initial": 0},
    MODEL | {"initial": [2, -1]},
    MODEL | {"initial": [None, 1]},
    MODEL | {"initial": ["1/0", 1]},
    MODEL | {"initial": ["1/3", "2 / 3"]},
    MODEL | {"initial": ["1/3", "nan"]},
    MODEL | {"initial": ["1/3", "1e99999"]},
    MODEL | {"initial": ["1/3", ""]},
    MODEL | {"initial": [[1, 0]]},
    MODEL | {"transitions": []},
    MODEL | {"transitions": [[]]},
    MODEL | {"transitions": [[[]]]},
    MODEL | {"transitions": [["1/3", "2/3"]]},
    MODEL | {"transitions": [[[["1/3"]]]]},
    MODEL | {"transitions": [[[1.5, -0.5]], [[0, 1]]]},
    MODEL | {"transitions": {"rows": [0], "cols": [0], "values": [-1]}},
    MODEL | {"rewards": [1, 2]},
    MODEL | {"rewards": [[[[1]]]]},
    MODEL | {"rewards": [["a"], [1]]},
    MODEL | {"rewards": [[True], [1]]},
    MODEL | {"rewards": {"rows": [0], "cols": [0]}},
    MODEL | {"rewards": {"rows": [0], "cols": [0], "values": [1], "shape": [2, 2]}},
    MODEL | {"rewards": {"rows": [-1], "cols": [0], "values": [1]}},
    MODEL | {"rewards": {"rows": [0.5], "cols": [0], "values": [1]}},
    MODEL | {"rewards": {"rows": 0, "cols": 0, "values": 1}},
    [MODEL],
    "exactrl.mdp/1",
    None,
]


@pytest.mark.parametrize("data", BROKEN_MODELS, ids=lambda d: json.dumps(d)[:70])
def test_a_broken_model_has_neither_the_form_nor_a_reader(data):
    assert accepts("mdp", MODEL)
    assert not accepts("mdp", data)
    with pytest.raises(ExactRLError):
        FiniteMDP.from_dict(data)


# ------------------------------------------------------------------------------------------ verdicts and certificates


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The verdicts and certificates of several runs, as they stand in the files."""
    found, folder = [], tmp_path_factory.mktemp("written")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(falsify.PROFILES, "quick", falsify.Budget(draws=200, generations=2, population=64, swept=2))
        toy = Claim("toy.open", "toy", "Here", "T", "$x$", "inequality", "pointwise", None, "c")
        toy.both_readings(space=Space({"x": Real()}), sides=lambda p: Check("rate", p.x, "<=", 2, asserted=False))
        patch.setitem(registry(), toy.id, toy)
        instance = folder / "mine.json"
        mine = {"reference": ["1", "0"], "returns": ["0", "7"], "tau": "1", "tau_prime": "1/2"}
        instance.write_text(json.dumps(mine))
        own = select(["ecpo.sec3.nonzero"])
        pieces = own_pieces(own, "quick", 0, instance=instance, mdp=None)
        for name, claims, options in [
            ("claims", select([*IDS, "ecpo.prop1"]), {}),
            ("toy", [toy], {"seed": 3}),
            ("own", own, {"pieces": pieces}),
        ]:
            verify(claims, out=folder / name, **options)
            verdicts = json.loads((folder / name / "verdicts.json").read_text())
            certificates = [json.loads(p.read_text()) for p in (folder / name / "certificates").iterdir()]
            found.append((verdicts, certificates))
    return found


def test_every_verdict_that_is_written_has_the_form(written):
    for verdicts, _ in written:
        assert_valid("verdicts", verdicts)
    seen = {r["verdict"] for verdicts, _ in written for c in verdicts["claims"] for r in c["readings"].values()}
    assert seen >= {"proved", "survived", "refuted", "ill-posed", "undecided"}


def test_every_certificate_that_is_written_has_the_form(written):
    certificates = [certificate for _, several in written for certificate in several]
    for certificate in certificates:
        assert_valid("certificate", certificate)
    assert {certificate["verdict"] for certificate in certificates} == {"refuted", "ill-posed"}


def paths(data, path=()):
    """Every place in JSON data."""
    yield path
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        yield from paths(value, (*path, key))


def replaced(data, path, value):
    if not path:
        return value
    result = copy.deepcopy(data)
    here = result
    for key in path[:-1]:
        here = here[key]
    here[path[-1]] = value
    return result


WRONG = {
    "schema": ["exactrl.certificate/2", "exactrl.certificate/1 ", 1],
    "claim": ["", "lemma1", "ecpo lemma1", 3],
    "reading": ["friendly", "Literal"],
    "verdict": ["survived", "proved", "undecided"],
    "instance": [{}, [], "1", {"x": 1.5}, {"x": -1}, {"x": "1/1"}, {"x": "-0"}, {"x": "2/04"}, {"x": " 1"}, {"x": []}],
    "condition": ["", 1],
    "component": [0, ["0"], [-1], [1.5], [True]],
    "relation": ["=", "!=", "≤"],
    "precision": [0, 100, "64", 16384, 64.5],
    "reason": ["because", 0],
}
NUMBERS = ["1", "0.5", "1e", "1.50e0", "01e0", "-0", "+1e0", "1e00", "1e+5", "nan", "-inf", "12e0"]
NUMBERS += ["1." + "3" * 20 + "e0"]


def test_broken_certificates_have_not(written):
    for certificate in (c for _, several in written for c in several):
        broken = [{k: v for k, v in certificate.items() if k != name} for name in certificate]
        broken += [certificate | {"note": ""}, [certificate], None, "certificate"]
        broken += [certificate | {name: value} for name, values in WRONG.items() for value in values]
        broken += [certificate | {side: text} for side in ("left", "right") for text in (*NUMBERS, 1.5, 0)]
        other = {"refuted": "ill-posed", "ill-posed": "refuted"}[certificate["verdict"]]
        broken.append(certificate | {"verdict": other})
        for path in paths(certificate):
            broken += [replaced(certificate, path, value) for value in (True, 0.5, {"no name": 1}, [None], "1/2\n")]
        for data in broken:
            assert not accepts("certificate", data), data
            with pytest.raises(checker.Rejected):
                checker.check(json.dumps(data).encode())


def test_broken_verdicts_have_not(written):
    for verdicts, _ in written:
        for path in paths(verdicts):
            for value in (True, {"a": 1}, [None], None):
                if value is None and path and path[-1] == "worst_margin":
                    continue
                if value is None and path and path[-1] in ("reason", "certificate", "proof"):
                    here = verdicts
                    for key in path:
                        here = here[key]
                    if here is None:
                        continue
                assert not accepts("verdicts", replaced(verdicts, path, value)), (path, value)
        reading = next(iter(verdicts["claims"][0]["readings"]))
        for place in ((), ("claims", 0), ("claims", 0, "readings"), ("claims", 0, "readings", reading)):
            assert not accepts("verdicts", replaced(verdicts, (*place, "note"), ""))
        entry = ("claims", 0, "readings", reading)
        for name, value in [
            ("verdict", "wrong"),
            ("instances", 1.5),
            ("instances", -1),
            ("worst_margin", "0"),
            ("seconds", -1),
            ("certificate", "/etc/passwd"),
            ("certificate", "certificates/../x.json"),
            ("assumptions", [""]),
            ("proof", ""),
            ("reason", ""),
        ]:
            assert not accepts("verdicts", replaced(verdicts, (*entry, name), value)), (name, value)
        for name, value in [("seed", -1), ("seed", 0.5), ("profile", "slow"), ("schema", "exactrl.verdicts/2")]:
            assert not accepts("verdicts", verdicts | {name: value})


def test_a_verdict_needs_what_it_rests_on(written):
    """A refuted reading without its certificate, or a proved one without its proof, is no verdict."""
    for verdicts, _ in written:
        for i, claim in enumerate(verdicts["claims"]):
            for name, entry in claim["readings"].items():
                for verdict in {"proved", "survived", "refuted", "ill-posed", "undecided"} - {entry["verdict"]}:
                    changed = replaced(verdicts, ("claims", i, "readings", name, "verdict"), verdict)
                    assert not accepts("verdicts", changed), (claim["id"], name, verdict)
