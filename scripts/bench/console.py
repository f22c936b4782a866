#!/usr/bin/env python3
"""How soon the console shows something in Chromium, and the first keys, and how soon each keystroke's answer is there, at KEYS
(10,000,000) keys.

Prints medians and 95th percentiles in milliseconds, and how long the longest frame was while the list scrolls through
ROWS (20,000) rows. `BINARY=…` measures another binary.
"""

import os
import shutil
import statistics
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Page, sync_playwright
from targets import BUILT

BINARY = os.environ.get("BINARY", str(BUILT / "kvstore"))
KEYS = int(os.environ.get("KEYS", 10_000_000))
ROWS = int(os.environ.get("ROWS", 20_000))
LOADS = 15
LINES = 500_000

FIELDS = ["name", "mail", "role", "seen", "theme"]
TYPED = [("prefix", "user:000123"), ("suffix", ":name"), ("prefix", "user:00"), ("suffix", "7:mail"), ("suffix", "12:role")]

# Notes when a key was pressed, and when what it found was painted.
WATCH = """() => {
    window.answers = [];
    const found = document.getElementById('found');
    let begun = 0;
    document.addEventListener('input', () => { begun = performance.now(); }, true);
    new MutationObserver(() => requestAnimationFrame(() => {
        const channel = new MessageChannel();
        channel.port1.onmessage = () => { window.answers.push(performance.now() - begun); };
        channel.port2.postMessage(0);
    })).observe(found, { attributes: true, attributeFilter: ['data-milliseconds'] });
}"""

# Scrolls as fast as frames come, and gives the longest of them and how far it came.
SCROLL = """(rows) => new Promise((done) => {
    const list = document.getElementById('keys');
    const height = list.querySelector('.row').offsetHeight;
    let before = performance.now(), longest = 0, steps = 0;
    const step = (now) => {
        longest = Math.max(longest, now - before);
        before = now;
        list.scrollTop += 25 * height;
        const empty = list.querySelectorAll('.row:not(.coming)').length === 0;
        steps += 1;
        if (list.scrollTop / height >= rows || steps > rows) done([longest, Math.round(list.scrollTop / height), empty]);
        else requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
})"""


@contextmanager
def server() -> Iterator[str]:
    """A server with all keys: its URL."""
    process = subprocess.Popen([BINARY, "--listen", "127.0.0.1:0"], stderr=subprocess.PIPE, text=True)
    try:
        for line in process.stderr:
            if " listens on " in line:
                url = "http://" + line.split(" listens on ")[1].strip()
                break
        else:
            sys.exit(f"{BINARY} ended before it listened")
        for start in range(0, KEYS, LINES):
            body = "".join(
                f'{{"key":"user:{at // len(FIELDS):08}:{FIELDS[at % len(FIELDS)]}","value":{{"n":{at}}}}}\n'
                for at in range(start, min(KEYS, start + LINES))
            )
            request = urllib.request.Request(url + "/set", data=body.encode(), headers={"Content-Type": "application/x-ndjson"})
            urllib.request.urlopen(request).read()
        yield url
    finally:
        process.terminate()
        process.wait()


def described(name: str, values: list[float]) -> None:
    values.sort()
    print(f"{name:34} {statistics.median(values):8.1f} {values[int(0.95 * (len(values) - 1))]:8.1f}  of {len(values)}")


def paints(page: Page, url: str) -> tuple[list[float], list[float]]:
    """When the first paint was, and when the first keys had come, of some loads."""
    first, keys = [], []
    for _ in range(LOADS):
        page.goto("about:blank")
        page.goto(url)
        page.locator("#found[data-milliseconds]").wait_for()
        first.append(page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
        keys.append(page.evaluate("performance.getEntriesByType('resource').find(({ name }) => name.includes('/search')).responseEnd"))
    return first, keys


def keystrokes(page: Page) -> list[float]:
    page.evaluate(WATCH)
    pressed = 0
    for field, text in TYPED:
        page.locator(f"#{field}").fill("")
        page.locator(f"#{field}").focus()
        pressed += 1
        for letter in text:
            page.keyboard.press(letter)
            pressed += 1
            page.wait_for_timeout(120)
    return page.evaluate("window.answers")


def main() -> None:
    chromium = shutil.which("chromium") or sys.exit("there is no chromium: scripts/packages.sh browser installs it")
    with server() as url, sync_playwright() as playwright:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        print(f"{KEYS:,} keys{'':20} {'median':>13} {'p95':>8}")
        first, keys = paints(page, url)
        described("first paint, ms", first)
        described("first keys here, ms", keys)
        described("a keystroke's answer painted, ms", keystrokes(page))
        page.goto(url + "/#prefix=user")
        page.locator("#keys .row:not(.coming)").first.wait_for()
        longest, rows, is_empty = page.evaluate(SCROLL, ROWS)
        print(f"scrolled through {rows:,} rows; the longest frame took {longest:.0f} ms{', and the list was empty' if is_empty else ''}")
        browser.close()


if __name__ == "__main__":
    main()
