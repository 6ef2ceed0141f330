"""The page of an algorithm: facts, update rule with its verdicts, configuration, repairs, reference curves, commands.

NAME.json beside NAME.html, schema exactrl.algorithm/1:

    algorithm, settings     the command that writes the page again, and versions
    verdicts                {id: {where, title, readings: {literal, intended}}} of the claims that the update rests on
    comparisons             {suite: dictionary of schema exactrl.compare/1} of the reference runs
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from deeprl.config import CONFIGS, ECAC_OTHERWISE
from exactrl.errors import ExactRLError
from exactrl.files import read_json, write_json_atomically, write_text_atomically
from reports.algorithm_facts import DDPG, SAC, SAC_SCORE, TD3, Facts
from reports.algorithm_facts_ecac import ECAC
from reports.algorithm_runs import Suites, runs_of, section_of
from reports.algorithm_settings import Table, configuration, published_table
from reports.page import _environment, _safe

__all__ = ["FACTS", "chosen_names", "cited_claims", "judge_claims", "read_verdicts", "write_algorithm_pages"]

FACTS: dict[str, Facts] = {"sac": SAC, "sac-score": SAC_SCORE, "td3": TD3, "ddpg": DDPG, "ecac": ECAC}
SCHEMA = "exactrl.algorithm/1"
READINGS = ("literal", "intended")
Verdicts = dict[str, dict[str, Any]]


def chosen_names(given: Sequence[str]) -> list[str]:
    """Return the algorithms to write pages of, all of them where none is given.

    Raises ExactRLError for an unknown name, with the nearest ones.
    """
    for name in given:
        if name not in FACTS:
            near = difflib.get_close_matches(name.lower().strip(), FACTS, n=3, cutoff=0.6)
            hint = f" (did you mean {' or '.join(near)}?)" if near else ""
            raise ExactRLError(f"no algorithm has the name {name!r}{hint}: expected one of {', '.join(FACTS)}")
    return list(dict.fromkeys(given)) or list(FACTS)


def cited_claims(names: Sequence[str]) -> list[str]:
    """Return the ids of the claims that the pages of these algorithms cite."""
    return list(dict.fromkeys(id for name in names for step in FACTS[name].steps for id in step.claims))


def read_verdicts(folder: Path, ids: Sequence[str]) -> Verdicts:
    """Return the verdicts on `ids` from a folder of `exactrl verify`, with what the claims are.

    Raises ExactRLError for a folder without verdicts, and where one of them is missing.
    """
    path = folder / "verdicts.json"
    found = read_json(path)
    try:
        return _described({entry["id"]: entry for entry in found["claims"]}, ids, folder)
    except (KeyError, TypeError):
        raise ExactRLError(f"{path} holds no verdicts: expected the file that `exactrl verify` writes") from None


def _described(entries: Mapping[str, Any], ids: Sequence[str], folder: Path) -> Verdicts:
    from proofs_checks.catalogue import catalogue
    from proofs_checks.claim import select

    absent = [id for id in ids if id not in entries]
    if absent:
        command = f"exactrl verify {' '.join(ids)} --out {folder}"
        raise ExactRLError(f"{folder} has no verdict on {', '.join(absent)}: make them with `{command}`")
    if not (folder / "index.html").is_file():
        raise ExactRLError(f"{folder} has no page that verdicts can be linked to: make it with `exactrl verify`")
    known = catalogue(select(ids))
    return {
        id: {
            "where": known[id]["where"],
            "title": known[id]["title"],
            "readings": {name: entries[id]["readings"][name]["verdict"] for name in READINGS},
        }
        for id in ids
    }


def judge_claims(ids: Sequence[str], out: Path, jobs: int, advance: Callable[[], object] = lambda: None) -> Verdicts:
    """Judge the claims with the default seed and profile, and write their verdicts, certificates and page to `out`."""
    from proofs_checks.catalogue import catalogue
    from proofs_checks.claim import select
    from proofs_checks.illustrations import illustrations_for
    from proofs_checks.verify import verify
    from reports.page import write_verify_page

    chosen = select(ids)

    def progress(done: int, total: int, name: str) -> None:
        advance()

    verdicts, certificates = verify(chosen, out=out, jobs=jobs, progress=progress)
    pictures = illustrations_for([entry["id"] for entry in verdicts["claims"]])
    write_verify_page(out, verdicts, catalogue(chosen), certificates, pictures)
    return _described({entry["id"]: entry for entry in verdicts["claims"]}, ids, out)


def write_algorithm_pages(
    out: Path,
    names: Sequence[str],
    verdicts: Verdicts,
    suites: Suites,
    settings: Mapping[str, Any],
    claims_page: Path,
    advance: Callable[[], object] = lambda: None,
) -> tuple[Path, list[dict[str, Any]]]:
    """Write NAME.html and NAME.json of each algorithm, index.html where there are several; each whole or not at all.

    claims_page: the page that verdicts link to.  Returns the page to open, and the content of each NAME.json.
    """
    link = Path(os.path.relpath(claims_page.resolve(), out.resolve())).as_posix()
    made, rows = [], []
    for name in names:
        sections = [section_of(suite, runs, name) for suite, runs in runs_of(suites, name).items()]
        cited = {id: verdicts[id] for id in cited_claims([name])}
        record = {
            "schema": SCHEMA,
            "algorithm": name,
            "settings": dict(settings),
            "verdicts": cited,
            "comparisons": {section["suite"]: section["result"] for section in sections},
        }
        made.append((name, _page(name, cited, sections, settings, link, len(names) > 1), record))
        rows.append({"name": name, "facts": FACTS[name], "verdicts": cited, "runs": sum(s["count"] for s in sections),
                     "kinds": kinds_of_actions(name)})  # fmt: skip
        advance()
    for name, html, record in made:
        write_json_atomically(out / f"{name}.json", record)
        write_text_atomically(out / f"{name}.html", html)
    page = out / f"{names[0]}.html"
    if len(names) > 1:
        page = out / "index.html"
        template = _environment().get_template("algorithm_index.html.j2")
        write_text_atomically(page, template.render(rows=rows, settings=settings))
    return page, [record for _, _, record in made]


def _page(
    name: str, verdicts: Verdicts, sections: list[dict[str, Any]], settings: Mapping[str, Any], link: str, indexed: bool
) -> str:
    facts = FACTS[name]
    own, shared = configuration(CONFIGS[name])
    cited = {id: {**verdict, "link": f"{link}#{_safe(id)}"} for id, verdict in verdicts.items()}
    tables = {"Table 4 of the ECPO paper": published_table()} if name == "ecac" else {}
    return (
        _environment()
        .get_template("algorithm.html.j2")
        .render(
            name=name,
            facts=facts,
            kinds=kinds_of_actions(name),
            learned=learned(name),
            verdicts=cited,
            claims=link,
            own=own,
            shared=shared,
            tables=tables,
            otherwise=ECAC_OTHERWISE,
            sections=sections,
            settings=settings,
            indexed=indexed,
            train=f"exactrl train {name} --env-id {CONFIGS[name]().env_id} --seeds 3 --out runs/{name}",
        )
    )


def kinds_of_actions(name: str) -> str:
    """Return which actions the algorithm takes."""
    from deeprl.algorithms import ALGORITHMS

    kind = ALGORITHMS[name]
    kinds = [word for word, takes in (("boxes", kind.continuous_actions), ("discrete", kind.discrete_actions)) if takes]
    return " and ".join(kinds)


def learned(name: str) -> Table:
    """Return what is learned, as rows: the network, how many of them, what is made of it, which targets follow."""
    from deeprl.algorithms import ALGORITHMS

    algorithm = ALGORITHMS[name](CONFIGS[name]().resolved(), observation_size=1, actions=1)
    rows = []
    for network, built in algorithm.networks.items():
        followers = [target for target, source in algorithm.targets.items() if source == network]
        rows.append([network, str(built.copies), ", ".join(followers) or "none"])
    return [*rows, *([scalar, "1 number", "none"] for scalar in algorithm.scalars())]
