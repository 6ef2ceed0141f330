"""A user's own instance or model in a claim: right verdicts, refusals that name the entry, certificates that stand."""

import json
from fractions import Fraction

import numpy as np
import pytest
from click.testing import CliRunner

from exactrl import ExactRLError, FiniteMDP, sources
from exactrl.cli import main
from proofs_checks import falsify
from proofs_checks.checker import main as checker
from proofs_checks.claim import registry, select
from proofs_checks.fields import Real, Simplex
from proofs_checks.own_problem import Fixed, read_instance, read_model, with_fixed
from proofs_checks.shrink import shrink

HALF = ["1/2", "1/2"]


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setitem(falsify.PROFILES, "quick", falsify.Budget(draws=200, generations=2, population=64, swept=2))


def run(*arguments):
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise AssertionError(f"exactrl {arguments} ended in {result.exception!r}") from result.exception
    return result


def judged(tmp_path, id, option, status=0, jobs=1):
    """Run verify on a claim with the file; return {reading: entry} and the certificates, checked."""
    out = tmp_path / "out"
    result = run("verify", id, *option, "--out", out, "--json", "--jobs", jobs)
    assert result.exit_code == status, result.output
    (claim,) = json.loads(result.stdout)["claims"]
    certificates = {}
    for name, entry in claim["readings"].items():
        if entry["certificate"]:
            data = (out / entry["certificate"]).read_bytes()
            assert checker.check(data), "the checker accepts what a user's problem refutes"
            certificates[name] = json.loads(data)
    assert (out / "index.html").is_file()
    return claim["readings"], certificates


def verdicts(tmp_path, id, option, **options):
    return {name: entry["verdict"] for name, entry in judged(tmp_path, id, option, **options)[0].items()}


def with_instance(tmp_path, data):
    path = tmp_path / "mine.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return ["--instance", path]


def with_model(tmp_path, model):
    model.save(tmp_path / "model.json")
    return ["--mdp", tmp_path / "model.json"]


# --------------------------------------------------------------------------------------------------------- instances

LIFT = {"reference": HALF, "returns": ["0", "7"], "tau": "1", "tau_prime": "1/2"}
REGRET = {"start": ["1/" + "1" + "0" * 60, "9" * 60 + "/1" + "0" * 60], "returns": ["1", "-1"], "horizon": 9}
MONOTONE = {"family": [HALF, ["1/3", "2/3"]], "returns": ["1", "-4"], "tau": "2", "tau_prime": "1/3"}


@pytest.mark.parametrize(
    ("id", "instance", "expected"),
    [
        ("ecpo.sec3.nonzero", LIFT, {"literal": "survived", "intended": "survived"}),
        ("ecpo.sec3.nonzero", LIFT | {"reference": ["1", "0"]}, {"literal": "refuted"}),
        ("ecpo.thm1.fixed", REGRET, {"literal": "refuted"}),
        ("ecpo.thm1.fixed", REGRET | {"start": HALF}, {"literal": "survived"}),
        ("ecpo.thm2.monotone", MONOTONE, {"literal": "survived", "intended": "survived"}),
        ("ecpo.eq5.lift", LIFT | {"reference": ["1", "0"]}, {"literal": "ill-posed"}),
        ("ecpo.eq5.lift", LIFT, {"literal": "survived"}),
        ("ecpo.eq5.lift", LIFT | {"challenger": ["1/3", "2/3"]}, {"literal": "survived", "intended": "survived"}),
        (
            "ecpo.lemma1",
            LIFT | {"policy": ["1/3", "2/3"], "samples": 2},
            {"literal": "refuted", "intended": "refuted"},
        ),
        ("ecpo.lemma1", LIFT | {"returns": ["1", "1"], "policy": HALF, "samples": 1}, {"literal": "survived"}),
    ],
)
def test_hand_made_instances_get_the_right_verdicts(tmp_path, id, instance, expected):
    assert verdicts(tmp_path, id, with_instance(tmp_path, instance)) == expected


def test_the_certificate_holds_the_users_own_instance(tmp_path):
    instance = LIFT | {"reference": ["1", "0"]}
    readings, certificates = judged(tmp_path, "ecpo.sec3.nonzero", with_instance(tmp_path, instance))
    assert certificates["literal"]["instance"] == instance, "nothing is shrunk"
    assert readings["literal"]["instances"] == 1
    assert readings["literal"]["worst_margin"] is None


def test_an_instance_of_many_digits_is_judged_exactly(tmp_path):
    tiny = "1/1" + "0" * 50
    other = "9" * 50 + "/1" + "0" * 50
    instance = LIFT | {"reference": [tiny, other], "returns": ["-1/3", "1e3"], "tau": "1/7"}
    assert verdicts(tmp_path, "ecpo.sec3.nonzero", with_instance(tmp_path, instance)) == {
        "literal": "survived",
        "intended": "survived",
    }


def test_two_processes_judge_as_one_does(tmp_path):
    option = with_instance(tmp_path, LIFT | {"policy": ["1/3", "2/3"], "samples": 2})
    one = verdicts(tmp_path, "ecpo.lemma1", option)
    assert verdicts(tmp_path, "ecpo.lemma1", option, jobs=2) == one


def refused(tmp_path, id, option):
    result = run("verify", id, *option, "--out", tmp_path / "out")
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert not (tmp_path / "out").exists(), "refused before any work"
    assert len(result.stderr.strip().splitlines()) == 1
    return result.stderr


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"reference": ["1/2", "1/3"]}, "reference sums to 5/6"),
        ({"reference": ["3/2", "-1/2"]}, "reference [1] is negative: -1/2"),
        ({"reference": []}, "reference"),
        ({"reference": "1"}, "reference has shape"),
        ({"reference": [["1/2", "1/2"]]}, "reference has shape"),
        ({"reference": [["1/2"], "1/2"]}, "reference"),
        ({"returns": ["0"]}, "returns has shape (1,): expected (2,)"),
        ({"returns": ["0", "x"]}, "returns[1] is 'x'"),
        ({"returns": ["0", "1/0"]}, "returns[1] is '1/0'"),
        ({"returns": ["0", "1e999999999"]}, "returns[1] is '1e999999999'"),
        ({"returns": ["0", None]}, "returns[1] is null"),
        ({"returns": ["0", True]}, "returns[1] is true"),
        ({"returns": ["0", {}]}, "returns[1] is {}"),
        ({"returns": {"0": 1}}, 'returns is {"0": 1}'),
        ({"returns": None}, "returns is null"),
        ({"tau": "0"}, "tau is not positive: 0"),
        ({"tau": ["1"]}, "tau has shape (1,)"),
        ({"tau": "nan"}, "tau is 'nan'"),
        ({"tau_prime": "-1"}, "tau_prime is negative: -1"),
        ({"policy": ["1", "0"]}, "'policy'"),
        ({"Tau": "1"}, "'Tau'"),
    ],
)
def test_a_wrong_entry_is_named(tmp_path, changed, named):
    message = refused(tmp_path, "ecpo.sec3.nonzero", with_instance(tmp_path, LIFT | changed))
    assert named in message
    assert "mine.json" in message


@pytest.mark.parametrize("samples", [0, -1, 1.5, "2", True, None, [2]])
def test_a_wrong_count_is_named(tmp_path, samples):
    instance = LIFT | {"policy": HALF, "samples": samples}
    assert "samples" in refused(tmp_path, "ecpo.lemma1", with_instance(tmp_path, instance))


@pytest.mark.parametrize("name", LIFT)
def test_a_missing_field_is_named(tmp_path, name):
    instance = {key: value for key, value in LIFT.items() if key != name}
    assert name in refused(tmp_path, "ecpo.sec3.nonzero", with_instance(tmp_path, instance))


@pytest.mark.parametrize("text", ["", "[]", "7", "null", '"x"', "{", '{"tau": 1, "tau": 2}', '{"tau": NaN}', "{}"])
def test_a_file_that_is_no_instance_is_refused(tmp_path, text):
    assert "mine.json" in refused(tmp_path, "ecpo.sec3.nonzero", with_instance(tmp_path, text))


def test_a_file_that_is_not_there_and_a_folder(tmp_path):
    for option in ("--instance", "--mdp"):
        assert "no such file" in refused(tmp_path, "ecpo.sec3.nonzero", [option, tmp_path / "none.json"])
        assert str(tmp_path) in refused(tmp_path, "ecpo.sec3.nonzero", [option, tmp_path])


def test_the_claim_and_one_problem_are_needed(tmp_path):
    option = with_instance(tmp_path, LIFT)
    for arguments in (option, ["ecpo.sec3.nonzero", *option, *with_model(tmp_path, sources.bandit([0, 1]))]):
        result = run("verify", *arguments, "--out", tmp_path / "out")
        assert result.exit_code == 2
        assert "--instance or --mdp" in result.stderr
    assert not (tmp_path / "out").exists()


def test_an_instance_that_is_not_of_every_claim_is_refused(tmp_path):
    message = refused(tmp_path, "ecpo", with_instance(tmp_path, LIFT))
    assert "is no instance of ecpo." in message


def test_a_hypothesis_that_the_instance_does_not_meet_leaves_it_undecided(tmp_path):
    """The first policy must be within log n of the segment's ends; here it is far from one of them."""
    instance = {
        "copies": ["1", "1"],
        "near": ["999999/1000000", "1/1000000"],
        "far": ["0", "1"],
        "weight": "0",
        "returns": ["0", "0"],
        "horizon": 1,
    }
    readings, _ = judged(tmp_path, "ecpo.thm1.fixed", with_instance(tmp_path, instance))
    assert readings["intended"]["verdict"] in ("survived", "undecided")


# ------------------------------------------------------------------------------------------------------------ models


def steps(*, horizon=2, discount=1, rewards=None, initial=0):
    """A deterministic model: from 0 action a leads to state a + 1, from there everything to 3, in rationals."""
    transitions = np.zeros((4, 2, 4), dtype=int)
    transitions[0, 0, 1] = transitions[0, 1, 2] = 1
    transitions[1:, :, 3] = 1
    rewards = [[0, "1/2"], [1, 2], [-1, "1/3"], [0, 0]] if rewards is None else rewards
    return FiniteMDP(transitions.tolist(), rewards, horizon=horizon, discount=discount, initial=initial)


def fractions(array):
    return [Fraction(x) for x in np.ravel(array)]


def saved(tmp_path, model):
    model.save(tmp_path / "model.json")
    return tmp_path / "model.json"


def claim(id):
    (found,) = select([id])
    return found


def test_a_model_fixes_the_returns_of_all_its_trajectories(tmp_path):
    fields = read_model(saved(tmp_path, steps()), claim("ecpo.sec3.nonzero"))
    assert set(fields) == {"literal", "intended"}
    assert fractions(fields["literal"]["returns"]) == [1, 2, Fraction(-1, 2), Fraction(5, 6)]


def test_the_discount_counts(tmp_path):
    fields = read_model(saved(tmp_path, steps(discount="1/2")), claim("ecpo.sec3.nonzero"))
    assert fractions(fields["literal"]["returns"]) == [Fraction(1, 2), 1, 0, Fraction(2, 3)]


def test_rewards_of_the_next_state_and_sparse_models_do_as_well(tmp_path):
    dense = steps()
    rewards = [[[r] * 4 for r in row] for row in dense.rewards_exact.tolist()]
    by_next = FiniteMDP(dense.transitions_exact.tolist(), rewards, horizon=2, initial=0)
    expected = read_model(saved(tmp_path, dense), claim("ecpo.sec3.nonzero"))
    for model in (by_next, by_next.sparse(), dense.sparse()):
        found = read_model(saved(tmp_path, model), claim("ecpo.sec3.nonzero"))
        assert fractions(found["literal"]["returns"]) == fractions(expected["literal"]["returns"])
        tree = read_model(saved(tmp_path, model), claim("ecpo.eq8.value"))["literal"]
        assert fractions(tree["first_rewards"]) == [0, Fraction(1, 2)]
        assert fractions(tree["second_rewards"]) == [1, 2, -1, Fraction(1, 3)]


def test_a_model_in_floats_enters_with_its_exact_values(tmp_path):
    fields = read_model(saved(tmp_path, sources.bandit([0.1, 0.25])), claim("ecpo.sec3.nonzero"))
    assert fractions(fields["literal"]["returns"]) == [Fraction(0.1), Fraction(1, 4)]


@pytest.mark.parametrize(
    ("id", "expected"),
    [
        ("ecpo.sec3.nonzero", {"literal": "refuted", "intended": "survived"}),
        ("ecpo.thm2.monotone", {"literal": "survived", "intended": "survived"}),
        ("ecpo.prop1", {"literal": "proved", "intended": "proved"}),
        ("ecpo.lemma1", {"literal": "refuted", "intended": "refuted"}),
    ],
)
def test_a_deterministic_model_gets_the_right_verdicts(tmp_path, id, expected):
    option = with_model(tmp_path, sources.bandit(["1/2", "-3", "7/4"]))
    found, certificates = judged(tmp_path, id, option)
    assert {n: e["verdict"] for n, e in found.items()} | expected == {n: e["verdict"] for n, e in found.items()}
    for certificate in certificates.values():
        assert certificate["instance"]["returns"] == ["1/2", "-3", "7/4"], "the model's own returns stay"


@pytest.mark.parametrize("id", ["ecpo.eq8.value", "ecpo.sec4.temporal"])
def test_a_deterministic_two_step_model_enters_section_4(tmp_path, id):
    found = verdicts(tmp_path, id, with_model(tmp_path, steps()))
    assert set(found.values()) <= {"survived", "proved"}


def two_step(seed):
    """From state 0 both actions lead to both of the others with positive rational chances; these absorb."""
    rng = np.random.default_rng(seed)
    k = [Fraction(int(x), 10) for x in rng.integers(1, 10, 2)]
    transitions = [[[0, p, 1 - p] for p in k], [[0, 1, 0]] * 2, [[0, 0, 1]] * 2]
    rewards = rng.integers(-3, 4, (3, 2)).tolist()
    return FiniteMDP(transitions, rewards, horizon=2, initial=0)


@pytest.mark.parametrize(
    ("id", "expected"),
    [
        ("ecpo.appd.policy", {"literal": "refuted", "intended": "refuted"}),
        ("ecpo.appd.lemma8", {"intended": "survived"}),
        ("ecpo.appd.thm3", {"intended": "survived"}),
    ],
)
def test_a_stochastic_two_step_model_enters_appendix_d(tmp_path, id, expected):
    model = two_step(3)
    found, certificates = judged(tmp_path, id, with_model(tmp_path, model))
    assert {name: found[name]["verdict"] for name in expected} == expected
    rows = model.transitions_exact[0][:, 1:]
    for certificate in certificates.values():
        instance = certificate["instance"]
        assert [[Fraction(x) for x in row] for row in instance["transitions"]] == rows.tolist()
        assert fractions(instance["first_rewards"]) == model.rewards_exact[0].tolist()
        assert fractions(instance["second_rewards"]) == fractions(model.rewards_exact[1:])


def test_garnets_enter_appendix_d_where_every_row_has_all_successors(tmp_path):
    model = sources.garnet(2, 2, 2, seed=4, exact=True, horizon=2, initial=0)
    if np.asarray(model.rewards).ndim == 3:
        model = model.replace(rewards=model.expected_rewards_exact.tolist())
    fields = read_model(saved(tmp_path, model), claim("ecpo.appd.policy"))["literal"]
    assert np.shape(fields["transitions"]) == (2, np.count_nonzero(model.transitions_exact[0].sum(axis=0)))


def discounted(**changes):
    """Two states: stay for nothing, or move to where every step costs; exact, with a discount and no horizon."""
    parts = {"discount": "2/5", "initial": ["1/3", "2/3"]} | changes
    return FiniteMDP([[["1/2", "1/2"], [0, 1]], [[0, 1]] * 2], [[0, 1], ["-1/3", 2]], **parts)


@pytest.mark.parametrize(
    ("id", "expected"),
    [
        ("soft_q.thm4", {"literal": "survived", "intended": "survived"}),
        ("soft_q.eq20", {"literal": "refuted", "intended": "survived"}),
        ("soft_q.eq28", {"literal": "refuted", "intended": "survived"}),
        ("mpo.eq13.retrace", {"literal": "refuted", "intended": "survived"}),
    ],
)
def test_a_discounted_model_enters_the_claims_about_infinite_sums(tmp_path, id, expected):
    found, certificates = judged(tmp_path, id, with_model(tmp_path, discounted()))
    assert {name: found[name]["verdict"] for name in expected} == expected
    own = {
        "dynamics": [[["1/2", "1/2"], ["0", "1"]], [["0", "1"], ["0", "1"]]],
        "rewards": [["0", "1"], ["-1/3", "2"]],
        "initial": ["1/3", "2/3"],
        "discount": "2/5",
    }
    own["transitions"] = own["dynamics"]
    for certificate in certificates.values():
        for name in own.keys() & certificate["instance"].keys():
            assert certificate["instance"][name] == own[name]


def test_a_model_with_a_horizon_is_refused_where_sums_are_infinite(tmp_path):
    message = refused(tmp_path, "soft_q.thm4", with_model(tmp_path, discounted(horizon=3)))
    assert "the model has horizon 3" in message
    assert "leave the horizon out" in message


def test_rewards_of_the_next_state_are_refused_where_pairs_are_expected(tmp_path):
    model = FiniteMDP([[[1, 0], [0, 1]]] * 2, [[[0, 1], [1, 2]]] * 2, discount="1/2")
    message = refused(tmp_path, "soft_q.thm4", with_model(tmp_path, model))
    assert "the rewards depend on the next state" in message


STOCHASTIC = FiniteMDP([[["1/2", "1/2"]] * 2, [[0, 1]] * 2], [[0, 1], [2, 3]], horizon=2, initial=0)


@pytest.mark.parametrize(
    ("id", "model", "named"),
    [
        ("ecpo.sec3.nonzero", STOCHASTIC, "transitions[0, 0] has 2 successors"),
        ("ecpo.sec3.nonzero", steps(horizon=None, discount="1/2"), "the model has no horizon"),
        ("ecpo.sec3.nonzero", steps(horizon=7), "2^7 trajectories: expected at most 64"),
        ("ecpo.sec3.nonzero", steps(horizon=10**9), "trajectories: expected at most 64"),
        ("ecpo.sec3.nonzero", steps(initial=["1/2", "1/2", 0, 0]), "the model starts in 2 states"),
        ("ecpo.lemma7", steps(), "neither dynamics, nor returns of trajectories"),
        ("ecpo.eq8.value", steps(horizon=3), "the model has horizon 3"),
        ("ecpo.eq8.value", steps(discount="1/2"), "the model has discount 0.5"),
        ("ecpo.eq8.value", STOCHASTIC, "has 2 successors"),
        ("ecpo.appd.policy", steps(), "is 0: the claim asks f > 0"),
        ("ecpo.appd.policy", STOCHASTIC.replace(horizon=3), "the model has horizon 3"),
        (
            "ecpo.appd.policy",
            STOCHASTIC.replace(rewards=[[[0, 1]] * 2] * 2),
            "the rewards depend on the next state",
        ),
        ("ecpo.appd.policy", STOCHASTIC.replace(initial=None), "the model starts in 2 states"),
        ("ecpo.thm1.lemma4", sources.bandit([0, 2]), "returns [1] is outside [-1, 1]: 2"),
    ],
)
def test_a_model_that_does_not_fit_is_refused_with_the_reason(tmp_path, id, model, named):
    message = refused(tmp_path, id, with_model(tmp_path, model))
    assert named in message
    assert f"cannot enter {id}" in message


def test_a_model_that_is_no_model_is_refused(tmp_path):
    path = tmp_path / "model.json"
    data = sources.bandit([0, 1]).to_dict()
    for changed, named in [({"n_states": 2}, "n_states"), ({"horizon": 0}, "horizon"), ({"schema": "x"}, "schema")]:
        path.write_text(json.dumps(data | changed))
        message = refused(tmp_path, "ecpo.sec3.nonzero", ["--mdp", path])
        assert named in message
        assert "model.json" in message


# ------------------------------------------------------------------------------------------------------ fixed fields


def test_a_fixed_field_stays_what_it_is():
    value = np.array([Fraction(1, 3), Fraction(2, 3)], dtype=object)
    kind = Fixed(shape=("n",), low=0, kind=Simplex(("n",)), value=value)
    rng = np.random.default_rng(0)
    raw = kind.draw(rng, 4, (2,))
    assert raw.shape == (4, 2, 2)
    assert kind.mutate(rng, raw) is raw
    np.testing.assert_allclose(kind.values(raw), [[1 / 3, 2 / 3]] * 4)
    np.testing.assert_allclose(kind.logs(raw), np.log([[1 / 3, 2 / 3]] * 4))
    assert kind.support(raw).tolist() == [[True, True]] * 4
    assert kind.exact(raw[0]) is value
    assert kind.fault(value) is None
    assert kind.fault(value[::-1]) == "is fixed by the model"
    assert list(kind.simpler(value)) == []
    bad = Fixed(kind=Simplex(("n",)), value=value * 2)
    assert "sums to 2" in bad.fault(value * 2)


def test_a_scalar_may_be_fixed():
    kind = Fixed(kind=Real(), value=Fraction(-1, 2))
    raw = kind.draw(np.random.default_rng(0), 3, ())
    assert kind.values(raw).tolist() == [-0.5] * 3
    assert kind.fault(Fraction(-1, 2)) is None


def test_shrinking_leaves_what_is_fixed_alone():
    reading = registry()["ecpo.sec3.nonzero"].readings["literal"]
    returns = np.array([Fraction(5), Fraction(22, 7)], dtype=object)
    fixed = with_fixed(reading, {"returns": returns})
    assert list(fixed.space.combinations()) == [{"n": 2}]
    instance = fixed.space.draw(np.random.default_rng(1), 1, {"n": 2}).exact(0)
    assert instance["returns"] is returns
    smallest = shrink(fixed.space, instance, lambda candidate: True)
    assert smallest["returns"].tolist() == returns.tolist()


def test_a_reading_that_permits_the_instance_is_enough(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(REGRET))
    assert set(read_instance(path, claim("ecpo.thm1.fixed"))) == {"literal"}
    path.write_text(json.dumps(LIFT))
    with pytest.raises(ExactRLError, match=r"literal reading: .*; intended reading: "):
        read_instance(path, claim("ecpo.thm1.fixed"))
