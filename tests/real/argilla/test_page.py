"""Argilla's own page in Chromium: what an annotator does there, and what captured text cannot do to the annotator."""

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from services.annotation.tables import CorrectionRow, ExampleRow
from shared.events import FeedbackGiven
from tests.real.argilla.conftest import DeskOf
from tests.real.argilla.desk_world import NET, POWER, Argilla, DeskWorld
from tests.real.argilla.page import AnnotationPage
from tests.services.annotation.desk_page.conftest import ARGUMENTS, CHROMIUM

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.browser]

PAYLOAD = (
    "<script>window.pwned = 1</script><img src=x onerror='window.pwned = 1'><svg onload='window.pwned = 1'></svg>"
    "<iframe srcdoc='<script>parent.pwned = 1</script>'></iframe><style>*{display:none}</style>"
    " ![image](http://127.0.0.1:9/image.png) [link](javascript:window.pwned=1) <http://127.0.0.1:9/auto>"
    " {{ 7191 * 7 }} ${7191 * 7} <template><script>window.pwned = 1</script></template>"
    "\n\n```html\n<script>window.pwned = 1</script>\n```\n# heading\n</div></textarea>"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield chromium
        chromium.close()


def page_of(browser: Browser, desk: DeskWorld, annotator: str) -> AnnotationPage:
    """Signed in with an account that setup makes, with the password it says once."""
    [account] = desk.desk.setup([desk.username(annotator)])
    assert account.password
    return AnnotationPage.signed_in(browser, desk.argilla.url, account.name, account.password)


def test_what_an_annotator_does_on_the_page_arrives_in_our_tables(browser: Browser, desk_of: DeskOf) -> None:
    desk = desk_of(annotators=())
    page = page_of(browser, desk, "ada")
    steps = {
        "fixed": lambda: (page.choose("verdict_fix"), page.write_ideal(POWER), page.choose("reasons_wrong")),
        "good": lambda: page.choose("verdict_good"),
        "flagged": lambda: (page.choose("verdict_fix"), page.write_ideal(POWER), page.choose("reasons_knowledge")),
        "dropped": lambda: None,
    }
    for answer_id, step in steps.items():
        desk.shown(answer_id)  # one at a time: the next is the only one that waits
        page.open(desk.dataset())
        page.shows(f'"{json.loads(NET)["queue"]}"')
        step()
        page.discard() if answer_id == "dropped" else page.submit()
        desk.turn_until(lambda answer_id=answer_id: answer_id in desk.stands())
    assert page.marks() == []

    rows = {c.sample_id: c for c in desk.world.rows(CorrectionRow)}
    said = {sample_id: (c.verdict, c.ideal, c.reasons, c.outcome) for sample_id, c in rows.items()}
    assert said == {
        "fixed": ("fix", POWER, '["wrong"]', "example"),
        "good": ("good", None, "[]", "example"),
        "flagged": ("fix", POWER, '["knowledge"]', "knowledge_gap"),
        "dropped": ("discard", None, "[]", "discarded"),
    }
    assert {c.annotator for c in rows.values()} == {desk.username("ada")}
    assert {e.sample_id for e in desk.world.rows(ExampleRow)} == {"fixed", "good"}


def test_captured_text_does_nothing_in_an_annotator_s_browser(browser: Browser, desk_of: DeskOf) -> None:
    desk = desk_of(annotators=(), answer_schema=None)
    page = page_of(browser, desk, "ada")
    feedback = FeedbackGiven(
        feedback_id="f1", answer_id="hostile", thumb="down", comment=PAYLOAD, suggested_answer=PAYLOAD
    )
    messages = [{"role": role, "content": PAYLOAD} for role in ("system", PAYLOAD, "assistant", "tool", "user")]
    desk.world.hears(feedback)
    desk.world.answered("hostile", "", answer=PAYLOAD, messages=messages, version=PAYLOAD)
    assert desk.fill() == 1
    record = desk.argilla.records(desk.dataset())["hostile"]
    assert set(record["fields"]) == {"conversation", "answer", "notes"}

    def harmless() -> None:
        page.shows("<script>window.pwned = 1</script>")
        page.page.wait_for_load_state("networkidle")
        assert page.marks() == []
        assert page.foreign_requests() == []
        assert str(7191 * 7) not in page.page.content()
        assert page.page.locator("a[href^='javascript:']").count() == 0
        assert page.page.locator("iframe[srcdoc*=pwned]").count() == 0

    page.open(desk.dataset())
    harmless()
    page.page.get_by_text("Filters").click()
    page.page.get_by_text("Metadata").first.click()
    page.page.get_by_text("Model version").first.click()
    harmless()
    page.page.keyboard.press("Escape")

    page.open(desk.dataset())
    page.choose("verdict_fix")
    expect(page.ideal).to_contain_text("{{ 7191 * 7 }}")
    page.ideal.click()
    page.page.keyboard.press("Control+End")
    page.page.keyboard.insert_text(" and more")
    harmless()
    page.submit()
    desk.turn_until(lambda: "hostile" in desk.stands())
    assert desk.stands()["hostile"] == ("fix", f"{PAYLOAD} and more")
    page.open(desk.dataset(), "submitted")
    harmless()


def test_the_payload_is_real_where_text_is_shown_as_it_came(browser: Browser, desk_of: DeskOf) -> None:
    """What the test above would see if a form showed captured text as HTML."""
    desk = desk_of(annotators=())
    page = page_of(browser, desk, "ada")
    careless = _careless_dataset(desk.argilla, desk.workspace)
    page.page.goto(f"{desk.argilla.url}/dataset/{careless}/annotation-mode")
    expect(page.page.locator("label[for=verdict_fix]")).to_be_visible()
    page.page.wait_for_function("window.pwned === 1 || Array.from(window.frames).some(f => f.pwned === 1)")
    assert page.marks() == [1]


def _careless_dataset(argilla: Argilla, workspace: str) -> str:
    [space] = [w["id"] for w in argilla.get("/me/workspaces")["items"] if w["name"] == workspace]

    def post(path: str, body: object) -> str:
        return str(argilla.call("POST", path, json=body).raise_for_status().json()["id"])

    dataset = post("/datasets", {"name": "careless", "workspace_id": space})
    plain = {"type": "text", "use_markdown": False}
    post(f"/datasets/{dataset}/fields", {"name": "answer", "title": "Answer", "required": True, "settings": plain})
    labels = [{"value": value, "text": value} for value in ("good", "fix")]
    question = {"type": "label_selection", "options": labels, "visible_options": None}
    post(
        f"/datasets/{dataset}/questions",
        {"name": "verdict", "title": "Verdict", "required": True, "settings": question},
    )
    argilla.call("PUT", f"/datasets/{dataset}/publish").raise_for_status()
    body = {"items": [{"external_id": "raw", "fields": {"answer": PAYLOAD}}]}
    argilla.call("PUT", f"/datasets/{dataset}/records/bulk", json=body).raise_for_status()
    return dataset
