"""Keys and values that were made to do something: they do nothing, and are shown for what they are."""

import json
import re

import pytest
from playwright.sync_api import expect

SCRIPT = b"<!doctype html><script>window.evil = 1; fetch('/set/evil')</script><img src=x onerror='window.evil = 2'><svg onload='window.evil = 3'>"

# Each with what is shown of it.
KEYS = {
    "odd/nul\0": "odd/nulNUL",
    "odd/line\nfeed\r\ttab": "odd/lineLFfeedCRTABtab",
    "odd/\x1b[31mred\x7f\x85": "odd/ESC[31mredU+007FU+0085",
    "odd/\u202egpj.exe\u202c": "odd/U+202Egpj.exeU+202C",
    "odd/\u200bzero\ufeffwidth": "odd/U+200BzeroU+FEFFwidth",
    " odd space ": "SPACEodd spaceSPACE",
    "odd/no\u00a0break": "odd/noU+00A0break",
    "odd/100%": "odd/100%",
    "odd/%2F%00": "odd/%2F%00",
    "odd/'\"`$(id)\\": "odd/'\"`$(id)\\",
    "odd/<script>window.evil=4</script>": "odd/<script>window.evil=4</script>",
    "odd/#?&=+;": "odd/#?&=+;",
    "odd/\U0001f469\u200d\U0001f469\u200d\U0001f467 family": "odd/\U0001f469\u200d\U0001f469\u200d\U0001f467 family",
    "odd/\u05e9\u05dc\u05d5\u05dd": "odd/\u05e9\u05dc\u05d5\u05dd",
    "odd/\\u{41}": "odd/\\u{41}",
    "odd/e\u0301": "odd/e\u0301",
    "odd//double/": "odd//double/",
    "odd/../up": "odd/../up",
    ".": ".",
    "..": "..",
    "__proto__": "__proto__",
    "odd/" + "x" * 508: "odd/" + "x" * 508,
}


def exactly(text: str) -> re.Pattern:
    """Just this, where a text would be compared without regard to spaces."""
    return re.compile(f"^{re.escape(text)}$")


def assert_harmless(console) -> None:
    assert console.page.evaluate("window.evil") is None
    assert console.server.get("evil") is None


@pytest.mark.parametrize("kind", ["text/html", "image/svg+xml", "application/json", "text/javascript", "application/xhtml+xml", "image/png", "application/octet-stream"])
def test_a_value_with_a_script_does_nothing_however_it_is_shown(console, kind: str) -> None:
    page = console.page
    key = f"hostile/{kind}<img src=x onerror=window.evil=5>"
    svg = b"<svg xmlns='http://www.w3.org/2000/svg' onload='window.top.evil = 6'><script href='/get/hostile/js'/><script>window.top.evil = 7</script></svg>"
    console.server.put("hostile/js", b"window.evil = 8; top.evil = 8", "text/javascript")
    console.server.put(key, svg if "svg" in kind else SCRIPT, kind)
    console.open(key=key, prefix="hostile/")
    expect(console.value.get_by_role("heading")).to_have_text(key)
    for way in console.value.get_by_role("radio").evaluate_all("(radios) => radios.map((radio) => radio.value)"):
        console.value.locator(f"input[value={way}]").check()
        expect(console.value.locator(".value, .trouble").first).to_be_visible()
        assert_harmless(console)
    page.keyboard.press("Escape")
    console.row(key[:24]).click()
    console.button("Edit").click()
    expect(page.get_by_label("Type", exact=True)).to_have_value(kind)
    console.button("Cancel").click()
    with page.expect_download() as download:
        console.button("Download").click()
    assert download.value.path().read_bytes() == console.server.get(key)[1]
    console.button("Delete").click()
    expect(console.notices).to_contain_text("Deleted hostile/")
    assert_harmless(console)


def test_json_with_markup_is_text_in_all_its_parts(console) -> None:
    markup = "<img src=x onerror='window.evil = 9'>"
    console.server.set_all([{"key": "hostile/json", "value": {markup: [markup, {"__proto__": markup}]}}])
    console.open(key="hostile/json")
    expect(console.value.locator(".json .string").first).to_contain_text(markup)
    expect(console.value.locator("img")).to_have_count(0)
    assert_harmless(console)


def test_an_address_with_anything_in_it_does_nothing(console) -> None:
    markup = "<img src=x onerror=window.evil=10>"
    page = console.open(prefix=markup, suffix=markup, view=markup, delimiter=markup, key=markup, panel=markup).page
    expect(page.locator("#prefix")).to_have_value(markup)
    expect(console.value.get_by_role("alert")).to_contain_text("the key names no value")
    page.goto(f"{console.server.url}/#prefix=%E0%A4%A&key=%&=&&view")
    page.reload()
    expect(console.found).to_contain_text("keys")
    assert_harmless(console)


def test_every_odd_key_is_shown_read_changed_and_deleted(console) -> None:
    server, page = console.server, console.page
    server.set_all({"key": key, "content_type": "text/plain", "base64": "b2xk"} for key in KEYS)
    console.open()
    for key, shown in KEYS.items():
        console.open(key=key, prefix=key)
        expect(console.value.get_by_role("heading")).to_have_text(exactly(shown))
        expect(console.rows.first).to_have_text(exactly(shown))
        expect(console.value.locator("pre.text")).to_have_text("old")
        # What the field holds finds the same key again.
        page.locator("#prefix").press("End")
        page.locator("#prefix").press_sequentially("?")
        expect(console.found).to_contain_text("0 keys")
        page.locator("#prefix").press("Backspace")
        expect(console.rows.first).to_have_text(exactly(shown))
        console.button("Edit").click()
        page.get_by_label("Value", exact=True).fill("new")
        console.button("Save").click()
        expect(console.value.locator("pre.text")).to_have_text("new")
        page.keyboard.press("d")
        expect(console.value.get_by_role("heading")).to_have_count(0)
    status, _, body = server.ask("POST", "/get", json.dumps({"keys": list(KEYS)}).encode(), Content_Type="application/json")
    assert status == 200 and body.count(b'"missing":true') == len(KEYS)
    assert_harmless(console)


def test_keys_without_an_address_get_a_deadline_and_come_back(console) -> None:
    server, page = console.server, console.page
    server.set_all([{"key": "..", "value": {"n": 12345678901234567890}}])
    console.open(key="..")
    expect(console.value.locator(".json")).to_contain_text("12345678901234567890")
    page.keyboard.press("x")
    page.get_by_role("dialog").get_by_role("button", name="Set").click()
    expect(console.value).to_contain_text("59 min")
    page.keyboard.press("d")
    expect(console.notices).to_contain_text("Deleted ..")
    page.keyboard.press("u")
    expect(console.value.locator(".json")).to_contain_text("12345678901234567890")
    page.keyboard.press("d")
    expect(console.value.get_by_role("heading")).to_have_count(0)
