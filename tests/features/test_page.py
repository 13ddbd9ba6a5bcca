from __future__ import annotations

from pathlib import Path

from sweepdiag.features import FEATURES
from sweepdiag.features.page import features_page

_PAGE = Path(__file__).parents[2] / "docs" / "features.md"


def test_the_page_is_up_to_date() -> None:
    assert _PAGE.read_text(encoding="utf-8") == features_page(), "run scripts/features-page"


def test_every_feature_says_how_it_is_computed_in_which_unit_and_why() -> None:
    page = features_page()
    for spec in FEATURES:
        assert spec.formula
        assert spec.description
        assert spec.unit in ("loss", "epoch", "count", "metric", "1")
        assert f"`{spec.name}`" in page or f"`{spec.name.partition('_')[2]}`" in page
