"""axe-core finds nothing, however the page looks and whatever it shows."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

VIEWPORTS = {400: 800, 1280: 800}


def assert_accessible(console, what: str) -> None:
    found = Axe().run(console.page, options={"resultTypes": ["violations"]})
    violations = [f"{each['id']}: {each['help']}: {node['target']}" for each in found.response["violations"] for node in each["nodes"]]
    assert not violations, what
    width = console.page.viewport_size["width"]
    assert console.page.evaluate("document.documentElement.scrollWidth") <= width, f"{what}: it is wider than the screen"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", VIEWPORTS)
def test_axe_finds_nothing(opened, server, scheme: str, width: int) -> None:
    # While something moves, its colours are between two.
    console = opened(server, viewport={"width": width, "height": VIEWPORTS[width]}, color_scheme=scheme, reduced_motion="reduce")
    page = console.page
    key = f"axe/{scheme}{width}\n "
    console.server.put(key, b'{"a": [1, "two", null, {"three": true}]}', "application/json", query="?ttl_ms=3600000")
    console.open(prefix="npm/react", suffix="native")
    expect(console.rows.first).to_be_visible()
    expect(page.locator("#figures .tile")).to_have_count(5 if width > 859 else 0)
    assert_accessible(console, "list")
    console.open(view="tree", key=key)
    expect(console.value.locator(".json")).to_be_visible()
    assert_accessible(console, "tree and value")
    page.keyboard.press("c")
    expect(page.get_by_role("dialog")).to_be_visible()
    assert_accessible(console, "dialog")
    page.keyboard.press("Escape")
    page.keyboard.press("e")
    expect(page.get_by_label("Value", exact=True)).to_be_visible()
    assert_accessible(console, "form")
    console.open(view="live", prefix="axe/", panel="server")
    expect(page.locator("#live-state")).to_have_text("watching")
    expect(page.locator("#figures .tile")).to_have_count(5)
    console.server.put(f"axe/live{scheme}{width}", b"1")
    expect(page.locator("#events .event").first).to_be_attached()
    assert_accessible(console, "server and changes")
    console.open(view="tree", prefix="logs/", key="axe/none")
    expect(console.value.get_by_role("alert")).to_be_visible()
    assert_accessible(console, "problem")


def test_the_theme_is_chosen_and_kept(console) -> None:
    page = console.open().page
    background = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(background) == "rgb(246, 247, 247)"
    theme = page.get_by_role("button", name="Colours: auto")
    theme.click()
    page.get_by_role("button", name="Colours: light").click()
    expect(page.get_by_role("button", name="Colours: dark")).to_be_visible()
    assert page.evaluate(background) == "rgb(18, 21, 23)"
    page.reload()
    expect(page.get_by_role("button", name="Colours: dark")).to_be_visible()
    assert page.evaluate(background) == "rgb(18, 21, 23)"
