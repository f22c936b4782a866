"""Changes as they happen, and what is said where they cannot be shown."""

import shutil
import socket
import subprocess
import time

from playwright.sync_api import expect
from serving import Server, serving


def watching(console):
    expect(console.page.locator("#live-state")).to_have_text("watching")
    return console.page.locator("#events .event")


def test_changes_under_the_filter_show_up_and_can_be_held(console) -> None:
    server = console.server
    page = console.open(view="live", prefix="live/").page
    events = watching(console)
    expect(page.locator("#live-empty")).to_be_visible()
    server.put("live/a", b"1")
    server.put("other/a", b"1")
    server.put("live/b", b"1", query="?ttl_ms=1")
    expect(events).to_have_count(3)
    assert [text for text in events.locator(".kind").all_text_contents()] == ["ended", "set", "set"]
    expect(events.last.locator("mark.begins")).to_have_text("live/")
    assert events.first.evaluate("(row) => getComputedStyle(row).animationName") == "flash-away"
    page.keyboard.press("p")
    server.put("live/c", b"1")
    server.delete("live/c")
    expect(page.locator("#live-held")).to_have_text("2 held")
    expect(events).to_have_count(3)
    page.get_by_role("button", name="Go on").click()
    expect(events).to_have_count(5)
    expect(events.first).to_contain_text("deleted")
    expect(page.locator("#live-count")).to_have_text("3 set, 1 deleted, 1 ended")
    events.filter(has_text="live/a").get_by_role("button").click()
    expect(console.value.locator("pre.text")).to_have_text("1")
    server.put("live/a", b"2")
    console.button("Show what is there now").click()
    expect(console.value.locator("pre.text")).to_have_text("2")


def test_many_changes_leave_the_page_as_it_is(opened) -> None:
    with serving() as server:
        console = opened(server).open(view="live", prefix="burst/")
        events = watching(console)
        server.set_all({"key": f"burst/{at}", "value": at} for at in range(20_000))
        expect(console.page.locator("#live-count")).to_contain_text("20,000 set")
        expect(events).to_have_count(300)
        expect(events.first).to_contain_text("burst/")


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def test_it_comes_back_after_a_restart_and_says_what_is_missing(opened) -> None:
    listen = f"127.0.0.1:{free_port()}"
    with serving(listen=listen) as server:
        console = opened(server).open(view="live", prefix="")
        events = watching(console)
        server.put("before", b"1")
        expect(events).to_have_count(1)
    expect(console.page.locator("#live-state")).to_have_text("comes back …")
    expect(console.page.locator("#live-problem")).to_contain_text("The server does not answer")
    # Its changes are another store's, which has those of the one before no more.
    with serving(listen=listen) as server:
        expect(console.page.locator("#live-problem")).to_contain_text("Some changes are missing")
        watching(console)
        server.put("after", b"1")
        expect(events.first).to_contain_text("after")


def test_over_an_engine_it_says_what_to_do_instead(opened, tmp_path) -> None:
    assert shutil.which("redis-server"), "there is no redis-server: scripts/packages.sh test installs it"
    port = free_port()
    redis = subprocess.Popen(["redis-server", "--port", str(port), "--save", "", "--dir", str(tmp_path)], stdout=subprocess.DEVNULL)
    try:
        until_listening(port)
        with serving("--engine", f"redis://127.0.0.1:{port}/0") as server:
            until_ready(server)
            server.put("engine/a", b"1")
            console = opened(server).open(view="live", prefix="")
            problem = console.page.locator("#live-problem")
            expect(problem).to_contain_text("cannot be watched")
            console.page.keyboard.press("1")
            expect(console.row("engine/a")).to_be_visible()
            expect(console.page.locator("#figures")).to_contain_text("Valkey or Redis")
    finally:
        redis.kill()
        redis.wait()


def until_listening(port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)) == 0:
                return
    raise AssertionError("it listens within 30 s")


def until_ready(server: Server) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if server.ask("GET", "/readyz")[0] == 200:
            return
    raise AssertionError("it is ready within 30 s")
