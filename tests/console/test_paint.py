"""What is seen first comes with one request, and before the page asks for anything."""

from playwright.sync_api import expect

# What the page asked for and when it was first seen, in milliseconds from where it began.
TIMES = """() => ({
    painted: performance.getEntriesByName('first-contentful-paint').map(({ startTime }) => startTime),
    asked: performance.getEntriesByType('resource').map(({ name, initiatorType, startTime }) => [new URL(name).pathname, initiatorType, startTime]),
})"""


def test_the_page_is_seen_with_one_request_and_before_it_asks(console) -> None:
    page = console.open(prefix="npm/react").page
    expect(console.rows.first).to_be_visible()
    times = page.evaluate(TIMES)
    [painted] = times["painted"]
    # Its icon is part of it; all else is what the application asks for.
    assert {kind for _, kind, _ in times["asked"]} == {"fetch"}
    searches = [begun for path, _, begun in times["asked"] if path == "/search"]
    assert searches
    assert painted < min(begun for _, _, begun in times["asked"])
    assert page.locator("script[src], link[rel=stylesheet], link[rel=modulepreload]").count() == 0


def test_what_is_seen_first_needs_no_script(opened, server) -> None:
    console = opened(server, java_script_enabled=False)
    page = console.page
    page.goto(server.url)
    expect(page.get_by_label("begins with")).to_be_visible()
    expect(page.get_by_label("ends with")).to_be_visible()
    expect(page.get_by_role("button", name="New key")).to_be_visible()
    assert console.asked == [server.url + "/"]


def test_a_page_that_nobody_looks_at_begins_as_well(opened, server) -> None:
    console = opened(server)
    # Never drawn, as far as the page can tell.
    console.page.add_init_script("PerformanceObserver.prototype.observe = () => {};")
    console.open(prefix="npm/vue")
    expect(console.rows.first).to_be_visible()
