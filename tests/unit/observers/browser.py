"""Looks at the page in a real browser: `python -m tests.unit.observers.browser FOLDER [AXE.js]`.

Writes a screenshot of every scene, wide and narrow, light and dark; checks that nothing overflows, that no
script fails, and what the page does while it lives. With axe-core's file, its checks too. Needs Chromium.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
from pathlib import Path
from typing import Any, NoReturn

from playwright.async_api import Browser, Page, async_playwright
from prometheus_client import CollectorRegistry

from tests.unit.observers.conftest import told
from tests.unit.observers.scenes import SCENES
from tests.unit.observers.story import SERVICE, Story, revision
from tests.unit.observers.web import Desk
from watcher.observe import ContainerOutput, Notice
from watcher.settings import HttpSettings
from watcher.web import create_app, serve

WIDTHS = (1280, 360)
SCRIPT_ERRORS: list[str] = []


def fail(text: str) -> NoReturn:
    raise SystemExit(f"page: {text}")


async def opened(browser: Browser, url: str, **options: Any) -> Page:
    """The page at `url`, with its first status shown."""
    page = await (await browser.new_context(**options)).new_page()
    page.on("pageerror", lambda error: SCRIPT_ERRORS.append(str(error)))
    page.on("console", lambda message: print(f"page: console {message.type}: {message.text}"))
    await page.goto(url)
    await until(page, page.title, " · ")
    return page


async def until(page: Page, read: Any, text: str) -> None:
    """Wait until what `read` gives holds `text`."""
    for _ in range(200):
        if text in (await read() or ""):
            return
        await page.wait_for_timeout(50)
    fail(f"never saw {text!r}")


async def look(browser: Browser, folder: Path, axe: str) -> None:
    for name, scene in SCENES.items():
        app = create_app(told(scene()), CollectorRegistry(), Desk(), HttpSettings())
        async with serve(app, "127.0.0.1", 0) as url:
            for theme in ("light", "dark"):
                for width in WIDTHS:
                    page = await opened(
                        browser,
                        url,
                        color_scheme=theme,
                        viewport={"width": width, "height": 1000},
                        bypass_csp=bool(axe),
                        reduced_motion="reduce",
                    )
                    await page.wait_for_timeout(400)
                    wide = await page.evaluate("document.documentElement.scrollWidth")
                    if wide > width:
                        fail(f"{name}: {wide} pixels in a window of {width}")
                    await page.screenshot(path=folder / f"{name}-{theme}-{width}.png", full_page=True)
                    if axe:
                        await page.evaluate(axe)
                        found = await page.evaluate("axe.run(document)")
                        for problem in found["violations"]:
                            fail(f"{name}: axe {problem['id']}: {problem['nodes'][0]['html']}")
                    await page.context.close()
        print(f"page: {name} is fine")


async def live(browser: Browser) -> None:
    """What happens while the page is open."""
    board, desk = told(SCENES["idle"]()), Desk()
    app = create_app(board, CollectorRegistry(), desk, HttpSettings())

    def tell(story: Story) -> None:
        for event in story.events:
            board.notify(event)

    async with serve(app, "127.0.0.1", 0) as url:
        page = await opened(browser, url)
        state = page.locator("#state")
        tell(Story().save(200).begin(200).steps(200, 4))
        await until(page, state.text_content, "Building")
        tell(Story().steps(200).built(200).deploy(200))
        await until(page, state.text_content, "Live")
        await until(page, page.locator("#story").text_content, revision(200)[:12])

        await page.locator("#history button").nth(3).click()
        await until(page, page.locator("#build-chip").text_content, "newest")
        tell(Story().cycle(201))
        await until(page, page.locator("#story").text_content, revision(201)[:12])
        focused = await page.evaluate("document.activeElement.dataset.key || ''")
        if not focused.startswith("b"):
            fail("the focus was lost when the history grew")

        await page.locator("#rebuild").click()
        await until(page, page.locator("#toast").text_content, "rebuild")
        await page.locator("#pause").focus()
        await page.keyboard.press("Enter")
        await until(page, page.locator("#toast").text_content, "Paused")
        if desk.asked != [("rebuild", SERVICE), ("pause", SERVICE)]:
            fail(f"the buttons asked for {desk.asked}")

        board.notify(Notice(service=SERVICE, level="info", text="<img src=x onerror=alert(1)>"))
        board.notify(ContainerOutput(service=SERVICE, container="c", text="<b>bold</b> main.go:3:7: x"))
        await until(page, page.locator("#log").text_content, "<b>bold</b>")
        if await page.locator("#log b, main img").count():
            fail("text was taken for markup")
        href = await page.locator("#log a").last.get_attribute("href")
        if href != "vscode://file/src/go-server/main.go:3:7":
            fail(f"a place in a file links to {href}")
        await page.locator("#editor").select_option("idea")
        href = await page.locator("#log a").last.get_attribute("href")
        if href != "idea://open?file=/src/go-server/main.go&line=3&column=7":
            fail(f"a place in a file links to {href}")
        port = int(url.rsplit(":", 1)[1].strip("/"))

    await until(page, page.locator("#banner").text_content, "No connection")
    again = create_app(told(Story().start().failing(3)), CollectorRegistry(), desk, HttpSettings())
    async with serve(again, "127.0.0.1", port):
        await until(page, state.text_content, "Does not compile")
        if await page.locator("#banner").is_visible():
            fail("the banner stayed")
        lines = await page.locator("#log p").count()
        if lines != 3:
            fail(f"the log shows {lines} lines of the new daemon instead of 3")
        await page.context.close()
    print("page: it follows, acts and comes back")


async def main(folder: Path, axe: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    path = shutil.which("chromium") or shutil.which("google-chrome") or fail("needs chromium in PATH")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=flags)
        await live(browser)
        await look(browser, folder, axe)
        await browser.close()
    if SCRIPT_ERRORS:
        fail(f"script failed: {SCRIPT_ERRORS[0]}")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]).read_text("utf-8") if sys.argv[2:] else ""))
