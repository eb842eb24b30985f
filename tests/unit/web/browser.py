"""The page in a real browser, for `test_browser.py`; `python -m tests.unit.web.browser FOLDER` draws it.

With FILE.png and the URL of a running daemon it draws what that one shows.
Every scene is looked at wide and narrow, light and dark: nothing overflows, no script fails, axe is content.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright
from prometheus_client import CollectorRegistry

from tests.unit.observers.conftest import told
from tests.unit.observers.scenes import SCENES
from tests.unit.observers.story import SERVICE, Story, revision
from tests.unit.web.support import Desk
from watcher.observers.events import ComponentChange, ContainerOutput, ImageExplained, Notice
from watcher.settings import HttpSettings
from watcher.web import create_app, serve

WIDTHS = (1280, 360)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")
SCRIPT_ERRORS: list[str] = []


@asynccontextmanager
async def chromium() -> AsyncGenerator[Browser]:
    """The system's browser, else the one of `playwright install`; no script may fail meanwhile."""
    SCRIPT_ERRORS.clear()
    path = shutil.which("chromium") or shutil.which("google-chrome")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        await browser.close()
    assert SCRIPT_ERRORS == []


async def opened(browser: Browser, url: str, **options: Any) -> Page:
    """The page at `url`, with its first status shown."""
    page = await (await browser.new_context(**options)).new_page()
    page.on("pageerror", lambda error: SCRIPT_ERRORS.append(str(error)))

    def heard(message: ConsoleMessage) -> None:
        if message.type == "error":
            SCRIPT_ERRORS.append(message.text)

    page.on("console", heard)
    await page.goto(url)
    await until(page, page.title, " · ")
    return page


async def until(page: Page, read: Any, text: str) -> None:
    """Wait until what `read` gives holds `text`."""
    while text not in (await read() or ""):  # the test's own time limit ends a wait in vain
        await page.wait_for_timeout(50)


async def look(browser: Browser, name: str, folder: Path | None = None) -> None:
    """One scene in every width and theme; pictures go to `folder`."""
    app = create_app(told(SCENES[name]()), CollectorRegistry(), Desk(), HttpSettings())
    async with serve(app, "127.0.0.1", [0]) as url:
        for theme in ("light", "dark"):
            for width in WIDTHS:
                page = await opened(
                    browser,
                    url,
                    color_scheme=theme,
                    viewport={"width": width, "height": 1000},
                    bypass_csp=True,  # for axe
                    reduced_motion="reduce",
                )
                await page.locator("#about dl, #overview table").first.wait_for()
                wide = await page.evaluate("document.documentElement.scrollWidth")
                assert wide <= width, f"{name}: {wide} pixels in a window of {width}"
                if folder:
                    await page.screenshot(path=folder / f"{name}-{theme}-{width}.png", full_page=True)
                if (theme == "light") == (width == WIDTHS[0]):  # each theme and each width once
                    await page.evaluate(AXE)
                    found = (await page.evaluate("axe.run(document)"))["violations"]
                    assert not found, f"{name}: axe {found[0]['id']}: {found[0]['nodes'][0]['html']}"
                await page.context.close()


async def live(browser: Browser, token: str = "") -> None:
    """What happens while the page is open; with a `token`, as beyond loopback."""
    board, desk = told(SCENES["idle"]()), Desk()
    settings = HttpSettings(host="0.0.0.0", token=token) if token else HttpSettings()
    app = create_app(board, CollectorRegistry(), desk, settings)

    def tell(story: Story) -> None:
        for event in story.events:
            board.notify(event)
        story.events.clear()

    async with serve(app, "127.0.0.1", [0]) as url:
        if token:
            locked = await (await browser.new_context()).new_page()
            await locked.goto(url)
            await until(locked, locked.locator("#banner").text_content, "requires a token")
            await locked.context.close()
        page = await opened(browser, f"{url}#token={quote(token)}" if token else url)
        assert (
            await page.evaluate("location.href") == url
        )  # the token is in no address that is kept, or shown
        assert await page.context.cookies() == []
        state = page.locator("#state")
        story = Story()
        tell(story.save(200).begin(200).steps(200, 4))
        await until(page, state.text_content, "Building")
        tell(story.steps(200).built(200).deploy(200))
        await until(page, state.text_content, "Live")
        await until(page, page.locator("#story").text_content, revision(200)[:12])

        await page.locator("#history button").nth(3).click()
        await until(page, page.locator("#build-chip").text_content, "newest")
        tell(story.cycle(201))
        await until(page, page.locator("#story").text_content, revision(201)[:12])
        focused = await page.evaluate("document.activeElement.dataset.key || ''")
        assert focused.startswith("b"), "the focus was lost when the history grew"

        await page.locator("#rebuild").click()
        await until(page, page.locator("#toast").text_content, "Rebuild")
        await page.locator("#pause").focus()
        await page.keyboard.press("Enter")
        await until(page, page.locator("#toast").text_content, "Paused")
        assert desk.asked == [("rebuild", SERVICE), ("pause", SERVICE)]

        board.notify(Notice(service=SERVICE, level="info", text="<img src=x onerror=alert(1)>"))
        place = "internal/handler/health.go:17:21"  # of the last error, so it is known where that is
        board.notify(ContainerOutput(service=SERVICE, container="c", text=f"<b>bold</b> {place}: x"))
        await until(page, page.locator("#log").text_content, "<b>bold</b>")
        assert not await page.locator("#log b, main img").count(), "text was taken for markup"
        href = await page.locator("#log a").last.get_attribute("href")
        assert href == f"vscode://file/src/go-server/{place}"
        await page.locator("#editor").select_option("idea")
        href = await page.locator("#log a").last.get_attribute("href")
        assert href == "idea://open?file=/src/go-server/internal/handler/health.go&line=17&column=21"
        worker = Story("worker")
        tell(worker.start().failing(7))
        await until(page, page.title, "Does not compile · worker")  # whichever is chosen
        assert not await page.locator("#state").is_visible(), "with several services, none is open at first"
        await page.locator("#overview [data-key=worker]").click()
        await until(page, state.text_content, "Does not compile")
        await page.locator("#error .places").wait_for()
        await until(page, page.locator(".notices").text_content, f"{SERVICE}: <img")  # whose notice it is
        tell(worker.cycle(8))
        await until(page, page.title, "Live")
        port = int(url.rsplit(":", 1)[1].strip("/"))

    await until(page, page.locator("#banner").text_content, "No connection")
    again = create_app(told(Story().start().failing(3)), CollectorRegistry(), desk, settings)
    async with serve(again, "127.0.0.1", [port]):
        await until(page, state.text_content, "Does not compile")
        assert not await page.locator("#banner").is_visible()
        await page.locator("#log p").nth(2).wait_for()
        assert await page.locator("#log p").count() == 3  # those of the new daemon
        await page.context.close()


async def open_sizes(browser: Browser, file: Path | None = None) -> None:
    """The points of the size chart show what changed in the image, by click and by keyboard."""
    board = told(SCENES["idle"]())
    after, before, unknown, *_ = [build for build in board.builds(SERVICE) if build.image_size]
    for build, since in ((before, ""), (after, before.revision)):
        size = build.image_size or 0
        board.notify(
            ImageExplained(
                service=SERVICE,
                revision=build.revision,
                image="sha256:1",
                size=size,
                components=(("github.com/gin-gonic/gin", 2_000_000), ("other", size - 2_000_000)),
                before=since,
                changes=(ComponentChange("go-server/internal/version", 20_000, 320_000),) if since else (),
            )
        )
    async with serve(create_app(board, CollectorRegistry(), Desk(), HttpSettings()), "127.0.0.1", [0]) as url:
        page = await opened(browser, url, bypass_csp=True)
        points, shown = page.locator("#charts circle"), page.locator("#image").text_content
        await points.last.click()
        await until(page, shown, f"revision {before.revision[:12]}")
        assert "go-server/internal/version" in (await shown() or "")
        assert "+300 kB" in (await shown() or "")
        if file:
            await page.screenshot(path=file, full_page=True)
        assert await points.last.get_attribute("tabindex") == "0"
        assert await page.locator("#charts [tabindex='0']").count() == 1
        await points.last.focus()
        await page.keyboard.press("ArrowLeft")
        await page.keyboard.press("Enter")
        await until(page, shown, "no image before it is known")
        await page.keyboard.press("ArrowLeft")
        await page.keyboard.press(" ")
        await until(page, shown, f"watcher image {unknown.revision[:12]}")
        SCRIPT_ERRORS[:] = [error for error in SCRIPT_ERRORS if "404" not in error]  # that of this answer
        await page.evaluate(AXE)
        found = (await page.evaluate("axe.run(document)"))["violations"]
        assert not found, f"axe {found[0]['id']}: {found[0]['nodes'][0]['html']}"
        await page.context.close()


async def picture(url: str, file: Path) -> None:
    """What the page of a running daemon shows now, as the README has it."""
    async with chromium() as browser:
        page = await opened(browser, url, color_scheme="dark", viewport={"width": 1180, "height": 860})
        await page.locator("#about dl").wait_for()
        await page.screenshot(path=file)


async def main(folder: Path) -> None:
    """Keep pictures of all scenes."""
    folder.mkdir(parents=True, exist_ok=True)
    async with chromium() as browser:
        for name in SCENES:
            await look(browser, name, folder)
        await open_sizes(browser, folder / "sizes.png")


if __name__ == "__main__":
    asyncio.run(picture(sys.argv[2], Path(sys.argv[1])) if sys.argv[2:] else main(Path(sys.argv[1])))
