"""The server at a glance, tokens, and problems."""

import re
import subprocess

import pytest
from playwright.sync_api import expect
from serving import binary, serving


def test_the_server_is_seen_at_a_glance(console) -> None:
    page = console.open().page
    figures = page.locator("#figures")
    expect(figures.locator(".tile").first).to_contain_text(re.compile(r"Keys1\d\d,\d{3}"))
    rows = figures.get_by_role("table", name="Memory by part").get_by_role("row")
    expect(rows.first).to_contain_text("values")
    expect(figures).to_contain_text("ready")
    expect(figures).to_contain_text("memory; gone when the process ends")
    version = page.locator("#version").text_content()
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)
    expect(figures).to_contain_text(f"Version{version}")
    chart = page.get_by_role("img", name=re.compile(r"^Requests a second in the last \d+ minutes: now "))
    expect(chart.locator("polyline")).to_have_count(1)
    for _ in range(50):
        console.server.ask("GET", "/search?prefix=npm&limit=10")
    expect(page.get_by_role("img", name=re.compile(r"^99th percentile .* now [\d.]+ (µs|ms|s)$")).locator(".line, .dot").first).to_be_attached()
    expect(figures.locator(".figure").nth(1)).to_have_text(re.compile(r"^[\d.,K]+$"))


TOKENS = {"reader": ["--access", "read"], "writer": ["--access", "write"], "confined": ["--access", "write", "--prefix", "own/"]}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """A server that takes tokens, and those by name."""
    file = tmp_path_factory.mktemp("tokens") / "tokens.toml"
    tokens = {}
    for name, arguments in TOKENS.items():
        drawn = subprocess.run([binary(), "token", "--name", name, *arguments], check=True, capture_output=True, text=True)
        tokens[name] = drawn.stdout.strip()
        with file.open("a") as out:
            out.write(drawn.stderr)
    with serving("--auth-file", str(file), "--auth-metrics", "true") as server:
        bearer = {"Authorization": f"Bearer {tokens['writer']}", "Content_Type": "text/plain"}
        for key in ("own/a", "other/a"):
            assert server.ask("PUT", f"/set/{key}", b"1", **bearer)[0] == 200
        yield server, tokens


def give(console, token: str) -> None:
    dialog = console.page.get_by_role("dialog", name="A token is needed")
    dialog.get_by_label("Token").fill(token)
    dialog.get_by_role("button", name="Use it").click()


def test_a_token_is_asked_for_kept_for_the_tab_and_says_what_it_may(opened, guarded) -> None:
    server, tokens = guarded
    console = opened(server).open()
    page = console.page
    dialog = page.get_by_role("dialog", name="A token is needed")
    expect(dialog).to_contain_text("this takes a token")
    give(console, "kv_wrong")
    expect(dialog.get_by_role("alert")).to_contain_text("the token is not one that this server knows")
    give(console, tokens["writer"])
    expect(console.found).to_contain_text("keys")
    expect(page.locator("#token")).to_have_text("writer · write")
    assert tokens["writer"] not in page.evaluate("location.href + JSON.stringify(localStorage) + document.cookie")
    page.reload()
    expect(console.found).to_contain_text("keys")
    page.locator("#token").click()
    about = page.get_by_role("dialog", name="The token in use")
    expect(about).to_contain_text("writer may read and change all keys")
    about.get_by_role("button", name="Forget it").click()
    expect(dialog).to_be_visible()
    assert page.evaluate("sessionStorage.length") == 0
    other = opened(server).open()
    expect(other.page.get_by_role("dialog", name="A token is needed")).to_be_visible()


def test_a_token_that_only_reads_says_so_where_something_would_change(opened, guarded) -> None:
    server, tokens = guarded
    console = opened(server).open(key="own/a")
    give(console, tokens["reader"])
    expect(console.page.locator("#token")).to_have_text("reader · read")
    expect(console.value.locator("pre.text")).to_have_text("1")
    delete = console.button("Delete")
    expect(delete).to_have_attribute("aria-disabled", "true")
    delete.click(force=True)
    expect(console.notices).to_contain_text("The token reader may read, and not change anything")
    console.page.keyboard.press("n")
    expect(console.notices.get_by_role("alert")).to_have_count(2)
    expect(console.value.get_by_role("heading")).to_have_text("own/a")
    console.page.keyboard.press("c")
    command = console.page.get_by_role("dialog", name="As curl").get_by_label("Read", exact=True).input_value()
    assert "$KVSTORE_TOKEN" in command and tokens["reader"] not in command


def test_a_token_for_some_keys_begins_with_them(opened, guarded) -> None:
    server, tokens = guarded
    console = opened(server).open()
    give(console, tokens["confined"])
    expect(console.page.locator("#prefix")).to_have_value("own/")
    expect(console.found).to_contain_text("1 key")
    expect(console.page.locator("#figures-problem")).to_contain_text("metrics are of all keys")
    console.page.locator("#prefix").fill("other/")
    problem = console.page.locator("#list-problem")
    expect(problem).to_contain_text('the token is for keys that begin with "own/"')
    expect(problem).to_contain_text("403 forbidden")


def test_a_server_that_is_gone_is_said_to_be(opened) -> None:
    with serving() as server:
        console = opened(server).open()
        expect(console.found).to_contain_text("0 keys")
        expect(console.page.locator("#list-empty")).to_contain_text("There are no keys yet")
    console.page.locator("#prefix").fill("a")
    expect(console.page.locator("#list-problem")).to_contain_text("The server does not answer")
