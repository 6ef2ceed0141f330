"""Pictures: deterministic, accessible, and nothing in them that is not in the data."""

import re
import xml.etree.ElementTree as ET

import matplotlib
import numpy as np
import pytest

from proofs_checks.illustrations import Illustration, illustrations_for
from reports.figures import PLOTS, draw, svg

PICTURES = illustrations_for(claim_id for claim_id, _ in PLOTS)


@pytest.fixture(params=PICTURES, ids=lambda picture: picture.claim_id)
def picture(request):
    return request.param


def test_every_illustration_has_a_plot_of_its_own():
    assert [(picture.claim_id, picture.kind) for picture in PICTURES] == list(PLOTS)


def test_the_same_data_give_the_same_bytes(picture):
    assert svg(picture) == svg(picture)


def test_personal_settings_change_nothing(picture):
    plain = svg(picture)
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "axes.xmargin": 0.5, "svg.fonttype": "path"}):
        assert svg(picture) == plain


def test_every_plotted_number_stands_in_the_data(picture):
    columns = [np.asarray(column, dtype=float) for column in picture.data.values()]
    lines = draw(picture).axes[0].get_lines()
    assert len(lines) == len(PLOTS[picture.claim_id, picture.kind].series)
    for line in lines:
        for plotted in line.get_data():
            assert any(np.array_equal(plotted, column) for column in columns)


def test_series_differ_by_more_than_colour_and_carry_their_names(picture):
    plot = PLOTS[picture.claim_id, picture.kind]
    axes = draw(picture).axes[0]
    assert len({(series.line, series.marker) for series in plot.series}) == len(plot.series)
    assert {text.get_text() for text in axes.texts} == {series.label for series in plot.series}
    assert axes.get_xlabel()
    assert axes.get_ylabel()
    heights = sorted(text.xy[1] for text in axes.texts)
    assert np.diff(heights).min() >= 0.06 * np.ptp(axes.get_ylim())


def test_a_picture_is_well_formed_and_titled_and_needs_nothing_from_outside(picture):
    text = svg(picture)
    tree = ET.fromstring(text)
    title = tree[0]
    assert tree.get("role") == "img"
    assert tree.get("aria-labelledby") == title.get("id")
    assert title.text == picture.title.replace("$", "")
    assert set(re.findall(r"https?://[^\"]+", text)) == {"http://www.w3.org/2000/svg"}
    assert "metadata" not in text
    assert "var(--series-1)" in text
    assert not re.search(r"#[0-9a-f]{6}\b", text.replace("#ffffff", ""), re.IGNORECASE)


def test_ids_are_unique_across_the_pictures_of_a_page():
    ids = [name for picture in PICTURES for name in re.findall(r'\bid="([^"]+)"', svg(picture))]
    assert len(ids) == len(set(ids))
    text = "".join(svg(picture) for picture in PICTURES)
    assert set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', text)) <= {
        pair for name in ids for pair in ((name, ""), ("", name))
    }


def test_an_illustration_without_a_plot_is_drawn_column_by_column():
    unknown = Illustration("x.y", "z", "A <title> & more", "", {"n": [1, 2], "a<b": [3.0, 4.0], "c": [5.0, 6.0]})
    tree = ET.fromstring(svg(unknown))
    assert tree[0].text == "A <title> & more"
    assert len(draw(unknown).axes[0].get_lines()) == 2
