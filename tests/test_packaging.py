# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""What pyproject.toml declares: bounds that are tested at their lower ends, and a page that needs no repository."""

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from hf_rlt.hub.card import REQUIREMENTS

ROOT = Path(__file__).parents[1]
NOT_RUN = {"ruff", "mypy", "codespell", "hf_rlt"}  # they look at the code


@pytest.fixture(scope="module")
def project() -> dict:
    return pytest.importorskip("tomllib").loads((ROOT / "pyproject.toml").read_text())["project"]


def test_every_lower_bound_is_in_the_lowest_set(project):
    extras = project["optional-dependencies"]
    declared = [*project["dependencies"], *(line for name in extras if name != "upstream" for line in extras[name])]
    lower = {}
    for requirement in map(Requirement, declared):
        if requirement.name not in NOT_RUN:
            (lower[requirement.name],) = [bound.version for bound in requirement.specifier if bound.operator == ">="]
    lines = (ROOT / "tests" / "lowest_requirements.txt").read_text().splitlines()
    assert dict(line.split("==") for line in lines if not line.startswith("#")) == lower


def test_the_package_page_needs_nothing_beside_it(project):
    page = (ROOT / project["readme"]).read_text()
    targets = re.findall(r"\]\(([^)]+)\)", page) + re.findall(r"(?:src|href)=\"([^\"]+)", page)
    assert targets
    assert all(target.startswith("https://") for target in targets)
    assert all(address.startswith("https://") for address in project["urls"].values())


def test_an_endpoint_asks_for_the_same_versions(project):
    assert set(REQUIREMENTS) <= set(project["dependencies"])


def test_what_people_want_is_at_the_top():
    import hf_rlt
    from hf_rlt.drawing import draw_clip
    from hf_rlt.inference import predict
    from hf_rlt.inference.evaluate import evaluate_model

    assert (hf_rlt.predict, hf_rlt.evaluate, hf_rlt.draw) == (predict, evaluate_model, draw_clip)
    assert callable(hf_rlt.compare) and callable(hf_rlt.load)  # noqa: PT018
    for name in hf_rlt.__all__:
        assert getattr(hf_rlt, name) is not None
