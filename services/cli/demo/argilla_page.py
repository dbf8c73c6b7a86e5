"""Corrections made in Argilla's own page, in Chromium, as an annotator makes them: sign in, read, edit, submit.

Fails: BadConfig where there is no Chromium, Unavailable when the page does not do what it should.
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.cli.demo.expert import verdict_of, words
from shared.errors import BadConfig, Unavailable
from training.tiny.house import Ticket

if TYPE_CHECKING:
    from playwright.async_api import Page

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
STEP_MS = 30_000
_RECORD, _QUESTION = ".chat__wrapper", '[aria-label="Question: {}"] '


@dataclass(frozen=True, slots=True)
class Annotator:
    name: str
    password: str
    api_key: str


async def correct_in_the_page(
    argilla_url: str,
    dataset_id: str,
    annotator: Annotator,
    truths: Mapping[str, Ticket],
    count: int,
    on_each: Callable[[int], None],
) -> set[str]:
    """Answers the first `count` records whose ticket is in `truths`; their ids. Other records are left as they are."""
    from playwright.async_api import Error, async_playwright

    by_words = {words(text): ticket for text, ticket in truths.items()}
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=_browser(), args=list(ARGUMENTS))
        try:
            page = await browser.new_page(viewport={"width": 1400, "height": 1000})
            page.set_default_timeout(STEP_MS)
            await page.goto(f"{argilla_url}/sign-in")
            await page.fill("input[type=text]", annotator.name)
            await page.fill("input[type=password]", annotator.password)
            await page.click("button[type=submit]")
            await page.wait_for_url(lambda url: "sign-in" not in url)
            await page.goto(f"{argilla_url}/dataset/{dataset_id}/annotation-mode")
            done: set[str] = set()
            while len(done) < count:
                record_id = (await page.locator(_RECORD).get_attribute("id") or "")[-36:]
                asked = await page.locator(f"{_RECORD} .chat__bubble").last.inner_text()
                ticket = by_words.get(words(asked))
                if ticket is None:
                    await page.locator(".pagination__button").last.click()
                else:
                    await _answer(page, ticket)
                    done.add(record_id)
                    on_each(len(done))
                if len(done) < count:
                    await page.wait_for_selector(f"{_RECORD}:not([id$='{record_id}'])")
            return done
        except Error as error:
            raise Unavailable(f"Argilla's page did not do what it should: {error.message}") from error
        finally:
            await browser.close()


async def _answer(page: "Page", ticket: Ticket) -> None:
    answer = await page.locator(".text_field_component .markdown-render").first.inner_text()
    decided = verdict_of(answer, ticket)
    await page.click(f"label[for=verdict_{decided['verdict']}]")
    if decided["verdict"] == "fix":
        await page.locator(_QUESTION.format("ideal") + ".content__text").fill(decided["ideal"])
        for reason in decided["reasons"]:
            await page.click(f"label[for=reasons_{reason}]")
    await page.click("button.button--submit")


def _browser() -> str:
    for name in BROWSERS:
        if found := shutil.which(name):
            return found
    raise BadConfig("there is no Chromium here, and the first corrections are made in Argilla's page: `make browser`")
