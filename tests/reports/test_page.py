"""The page of `exactrl verify`, from a hand-written run with all six verdicts."""

import csv
import re
from html.parser import HTMLParser

import pytest

from exactrl import ExactRLError
from proofs_checks.illustrations import Illustration, illustrations_for
from reports.page import LEGEND, write_verify_page

HOSTILE = "<script>alert(1)</script>\"'&<b>"


def reading(verdict, **changes):
    base = {"assumptions": ["$\\tau>0$"], "verdict": verdict, "instances": 12345, "worst_margin": 1.25e-9,
            "certificate": None, "proof": None, "seconds": 0.5}  # fmt: skip
    return {**base, **changes}


def claim(identity, literal, intended, amendments=()):
    readings = {"literal": literal, "intended": intended}
    return {"id": identity, "source": "ecpo", "where": "Sec. 3", "readings": readings, "amendments": list(amendments)}


@pytest.fixture
def run():
    path = "certificates/ecpo.lemma1.literal.json"
    amended = {"id": "ecpo.lemma1.amended", "statement": "As $K\\to\\infty$ it is consistent.", "verdict": "survived"}
    claims = [
        claim("ecpo.lemma1", reading("refuted", certificate=path), reading("refuted"), [amended]),
        claim("ecpo.thm1.fixed", reading("ill-posed", reason="$\\tau=0$ divides."), reading("survived")),
        claim("ecpo.eq5.lift", reading("proved", proof="Step 1: $x^2\\ge0$."), reading("certified")),
        claim("ecpo.appd.thm3", reading("undecided", reason="the precision ran out"), reading("survived")),
    ]
    verdicts = {"schema": 1, "version": "0.1.0", "seed": 7, "profile": "quick", "claims": claims}
    catalogue = {
        c["id"]: {
            "statement": f"$SR(\\pi_{k})\\le4\\sqrt{{T\\log n}}$",
            "title": f"Title {k}",
            "kind": "identity",
            "shape": "pointwise",
            "explanation": "",
            "intended_statement": None,
            "hand_check": None,
        }
        for k, c in enumerate(claims)
    }
    catalogue["ecpo.lemma1"].update(
        intended_statement="for $K\\ge1$", hand_check="Put $K=1$.\nThen $1/2\\ne1$.", explanation="Only $K$ matters."
    )
    certificate = {
        "schema": 1,
        "claim": "ecpo.lemma1",
        "reading": "literal",
        "verdict": "refuted",
        "instance": {"tau": "1/2", "tau_prime": "0/1", "returns": ["-3/7", "1/1" + "0" * 30], "samples": 1,
                     "policy": [["2/3", "1/3"], ["1/5"]]},
        "condition": "$K=1$",
        "component": [0, 2],
        "left": "3.3302184446307908825e0",
        "relation": "<=",
        "right": "-1.5e-30",
        "precision": 128,
        "reason": None,
    }  # fmt: skip
    return verdicts, catalogue, {"ecpo.lemma1.literal": certificate}


VOID = {"meta", "br", "link", "img", "hr"}


class Outline(HTMLParser):
    """Checks that tags nest, and collects ids, links, attributes and visible text."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.links, self.attributes, self.text, self.tags = [], [], [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        self.ids += [value for name, value in attrs if name == "id"]
        self.links += [value for name, value in attrs if name == "href"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text.append(data)


def outline(path):
    parser = Outline()
    parser.feed(path.read_text(encoding="utf-8"))
    parser.close()
    assert parser.open == []
    return parser


@pytest.fixture
def page(run, tmp_path):
    verdicts, catalogue, certificates = run
    pictures = illustrations_for(["ecpo.lemma1", "ecpo.lemma2.lower"])
    return write_verify_page(tmp_path, verdicts, catalogue, certificates, pictures)


def test_the_page_nests_has_unique_ids_and_every_inner_link_leads_somewhere(page, tmp_path):
    seen = outline(page)
    assert page == tmp_path / "index.html"
    assert len(seen.ids) == len(set(seen.ids))
    assert {link[1:] for link in seen.links if link.startswith("#")} <= set(seen.ids)
    assert {"ecpo.lemma1", "ecpo.thm1.fixed", "ecpo.eq5.lift", "ecpo.appd.thm3", "summary", "legend"} <= set(seen.ids)
    assert seen.tags.count("h1") == 1
    assert seen.tags.count("article") == 4


def test_every_verdict_has_a_badge_and_a_meaning(page):
    text = page.read_text(encoding="utf-8")
    for verdict, (meaning, limits) in LEGEND.items():
        assert f'class="badge v-{verdict}"' in text
        assert meaning in text
        assert limits in text


def test_sections_show_what_was_found(page):
    seen = " ".join("".join(outline(page).text).split())
    for part in (
        "(−3/7, 1/1030)", "(2/3, 1/3)(1/5)", "3.3302184446307908825", "≤", "−1.5·10−30", "so the relation fails",
        "certain at 128 bits", "Tested: K=1, component 1, 3 (counted from 1)", "12,345 instances",
        "the worst margin met was 1.25·10−9",
        "exactrl verify ecpo.lemma1 --seed 7 --profile quick", "exactrl check certificates/ecpo.lemma1.literal.json",
        "the precision ran out", "ecpo.lemma1.amended", "Title 2", "Step 1", "By hand", "Read as",
    ):  # fmt: skip
        assert part in seen, part
    assert "\\" not in seen
    assert "$" not in seen


def test_the_page_needs_nothing_from_outside(page):
    text = page.read_text(encoding="utf-8")
    assert set(re.findall(r"[a-z]+://[^\s\"'<)]+", text)) <= {
        "http://www.w3.org/1998/Math/MathML",
        "http://www.w3.org/2000/svg",
    }
    seen = outline(page)
    assert not {"script", "link", "img", "iframe", "object"} & set(seen.tags)
    assert "@import" not in text


def test_only_judged_claims_have_pictures_and_the_csv_holds_their_columns(page, tmp_path):
    assert [file.name for file in (tmp_path / "data").iterdir()] == ["ecpo.lemma1.estimator.csv"]
    (picture,) = illustrations_for(["ecpo.lemma1"])
    with open(tmp_path / "data" / "ecpo.lemma1.estimator.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {name: [float(row[name]) for row in rows] for name in rows[0]} == picture.data


def test_hostile_strings_are_shown_and_never_obeyed(run, tmp_path):
    verdicts, catalogue, certificates = run
    literal = reading(HOSTILE, assumptions=[HOSTILE], proof=HOSTILE, reason=f"${HOSTILE}$")
    evil = claim(HOSTILE, literal, reading("survived"))
    evil["where"] = evil["source"] = HOSTILE
    evil["readings"]["literal"]["certificate"] = "javascript:alert(1)"
    evil["amendments"] = [{"id": HOSTILE, "statement": HOSTILE, "verdict": HOSTILE}]
    verdicts["claims"].append(evil)
    verdicts["profile"] = HOSTILE
    texts = ("statement", "title", "kind", "explanation", "intended_statement", "hand_check")
    catalogue[HOSTILE] = dict.fromkeys(texts, HOSTILE)
    certificates[f"{HOSTILE}.literal"] = {
        "instance": {HOSTILE: [HOSTILE, {HOSTILE: HOSTILE}]}, "condition": HOSTILE, "component": HOSTILE,
        "left": HOSTILE, "relation": HOSTILE, "right": None, "precision": HOSTILE, "reason": HOSTILE,
    }  # fmt: skip
    picture = Illustration(HOSTILE, "../../" + HOSTILE, HOSTILE, HOSTILE, {HOSTILE: [1, 2], "y": [3, 4]})
    seen = outline(write_verify_page(tmp_path, verdicts, catalogue, certificates, [picture]))
    assert not {"script", "b"} & set(seen.tags)
    assert not any(name.startswith("on") for name, _ in seen.attributes)
    assert not any(link.startswith("javascript:") for link in seen.links)
    assert HOSTILE in "".join(seen.text)
    assert {file.parent for file in tmp_path.rglob("*.csv")} == {tmp_path / "data"}


def test_a_run_without_claims_or_pictures_still_makes_a_page(tmp_path):
    run = {"schema": 1, "version": "0.1.0", "seed": 0, "profile": "full", "claims": []}
    outline(write_verify_page(tmp_path, run, {}, {}, []))
    assert not (tmp_path / "data").exists()


def test_the_same_run_gives_the_same_bytes(run, tmp_path):
    pages = []
    for name in "ab":
        (tmp_path / name).mkdir()
        pages.append(write_verify_page(tmp_path / name, *run, illustrations_for(["ecpo.lemma1"])).read_bytes())
    assert pages[0] == pages[1]


def test_an_unwritable_folder_is_refused(run, tmp_path):
    (tmp_path / "data").write_text("in the way")
    with pytest.raises(ExactRLError, match="cannot make the folder"):
        write_verify_page(tmp_path, *run, illustrations_for(["ecpo.lemma1"]))
    assert not (tmp_path / "index.html").exists()


def test_an_amendment_with_a_verdict_of_its_own_is_linked_and_counted_apart(run, tmp_path):
    verdicts, catalogue, certificates = run
    verdicts["claims"].append(claim("ecpo.lemma1.amended", reading("survived"), reading("survived")))
    page = write_verify_page(tmp_path, verdicts, catalogue, certificates, [])
    assert '<a href="#ecpo.lemma1.amended"><code>' in page.read_text(encoding="utf-8")
    seen = " ".join("".join(outline(page).text).split())
    assert "4 claims judged" in seen
    assert "amendments with a section of their own1" in seen
    assert "As printed: 1 proved 1 refuted 1 ill-posed 1 undecided" in seen


def test_readings_that_share_a_certificate_both_show_it(run, tmp_path):
    verdicts, catalogue, certificates = run
    verdicts["claims"][0]["readings"]["intended"]["certificate"] = "certificates/ecpo.lemma1.literal.json"
    page = write_verify_page(tmp_path, verdicts, catalogue, certificates, [])
    assert page.read_text(encoding="utf-8").count("Counterexample, exact") == 2
