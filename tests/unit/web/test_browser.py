"""The status page in a real browser: every scene, and what happens while it is open."""

from __future__ import annotations

import pytest

from tests.unit.observers.scenes import SCENES
from tests.unit.web.browser import chromium, live, look, open_sizes

pytestmark = [pytest.mark.timeout(300), pytest.mark.thorough]


@pytest.mark.parametrize("scene", SCENES)
async def test_a_scene_fits_in_every_width_and_theme_and_is_accessible(scene: str) -> None:
    async with chromium() as browser:
        await look(browser, scene)


@pytest.mark.parametrize("token", ["", "correct horse&more%"])
async def test_the_page_follows_acts_and_comes_back(token: str) -> None:
    async with chromium() as browser:
        await live(browser, token)


async def test_points_of_the_size_chart_open_by_click_and_by_keyboard() -> None:
    async with chromium() as browser:
        await open_sizes(browser)
