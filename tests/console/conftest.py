"""A browser, a store of 100,000 keys, and pages on which nothing may happen that the console's policy forbids."""

import os
import re
import shutil
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from serving import Server, serving, store

expect.set_options(timeout=20_000)

# Said by the page itself, should its policy ever be met.
REPORT = "document.addEventListener('securitypolicyviolation', (event) => console.error('Content Security Policy: ' + event.violatedDirective + ' ' + event.blockedURI));"

# What browsers say of every answer that is no success: the page shows those, and tests look at that.
ANSWERED = re.compile(r"^Failed to load resource: (the server responded with a status of (401|403|404|410|412|501|503)|net::ERR_CONNECTION_REFUSED|net::ERR_INCOMPLETE_CHUNKED_ENCODING)")


class Console:
    """The console in a page of its own."""

    def __init__(self, page: Page, server: Server) -> None:
        self.page = page
        self.server = server
        self.said: list[str] = []
        self.asked: list[str] = []
        page.on("console", lambda message: self.said.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.said.append(f"uncaught: {error}"))
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("dialog", lambda dialog: self.said.append(f"a dialog: {dialog.message}"))
        page.add_init_script(REPORT)

    def open(self, **state: str) -> "Console":
        """Opens the page with this state in its address."""
        fragment = "&".join(f"{name}={quote(value, safe='')}" for name, value in state.items())
        # Where only this differs, the page goes there without being loaded again.
        self.page.goto(f"{self.server.url}/#{fragment}")
        expect(self.page.locator("#version")).not_to_be_empty()
        return self

    @property
    def found(self):
        return self.page.locator("#found")

    @property
    def rows(self):
        return self.page.locator("#keys [role=option]")

    def row(self, text: str):
        return self.rows.filter(has_text=text).first

    @property
    def value(self):
        return self.page.locator("#value")

    @property
    def notices(self):
        return self.page.locator("#notices")

    def button(self, name: str):
        return self.value.get_by_role("button", name=name, exact=True)

    @property
    def state(self) -> str:
        return self.page.evaluate("location.hash")

    def assert_well(self) -> None:
        """Nothing was refused by the policy, failed unseen, or went elsewhere."""
        said = [text for text in self.said if not ANSWERED.match(text)]
        assert not said
        elsewhere = [url for url in self.asked if not url.startswith((self.server.url + "/", "blob:", "data:", "about:"))]
        assert not elsewhere


@pytest.fixture(scope="session")
def browser():
    """The system's Chromium."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert path, "there is no chromium: scripts/packages.sh browser installs it"
    # Its own sandbox takes another user than root.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def server():
    """One with 100,000 keys, which tests share: each changes only keys of its own."""
    with serving() as server:
        server.set_all(store())
        yield server


@pytest.fixture
def opened(browser: Browser):
    """Makes pages, and looks at the end of the test whether all went well on them."""
    consoles = []
    contexts = []

    def opened(server: Server, **options) -> Console:
        context = browser.new_context(**({"viewport": {"width": 1280, "height": 800}} | options))
        contexts.append(context)
        console = Console(context.new_page(), server)
        consoles.append(console)
        return console

    yield opened
    for console in consoles:
        console.assert_well()
    for context in contexts:
        context.close()


@pytest.fixture
def console(opened, server: Server) -> Console:
    return opened(server)
