"""Argilla's page in Chromium, as an annotator uses it."""

from dataclasses import dataclass, field

from playwright.sync_api import Browser, Locator, Page, expect

FONTS = "https://fonts.googleapis.com/"  # which Argilla's own style sheet asks for


@dataclass
class AnnotationPage:
    page: Page
    url: str
    requests: list[str] = field(default_factory=list)

    @classmethod
    def signed_in(cls, browser: Browser, url: str, username: str, password: str) -> "AnnotationPage":
        page = browser.new_context(viewport={"width": 1500, "height": 1000}).new_page()
        page.set_default_timeout(60_000)
        expect.set_options(timeout=60_000)
        page.route(f"{FONTS}**", lambda route: route.abort())
        opened = cls(page, url)
        page.on("request", lambda request: opened.requests.append(request.url))
        page.goto(f"{url}/sign-in")
        page.fill("input[name=Username]", username)
        page.fill("input[name=Password]", password)
        page.click("button[type=submit]")
        page.wait_for_url(lambda now: "sign-in" not in now)
        return opened

    def open(self, dataset_id: str, status: str = "pending") -> None:
        self.page.goto(f"{self.url}/dataset/{dataset_id}/annotation-mode?page=1&status={status}")
        expect(self.page.locator("label[for=verdict_fix]")).to_be_visible()

    def shows(self, text: str) -> None:
        expect(self.page.get_by_text(text, exact=False).first).to_be_visible()

    @property
    def ideal(self) -> Locator:
        return self.page.locator("form [contenteditable=true]").first

    def choose(self, label: str) -> None:
        self.page.click(f"label[for={label}]")

    def write_ideal(self, text: str) -> None:
        self.ideal.click()
        self.page.keyboard.press("Control+a")
        self.page.keyboard.insert_text(text)

    def submit(self) -> None:
        self.page.click("button.button--submit")

    def discard(self) -> None:
        self.page.click("button.button--discard")

    def marks(self) -> list[object]:
        """What script in the page or in a frame of it has left."""
        return [mark for frame in self.page.frames if (mark := frame.evaluate("window.pwned")) is not None]

    def foreign_requests(self) -> list[str]:
        return [url for url in self.requests if not url.startswith((self.url, FONTS, "data:", "blob:"))]
