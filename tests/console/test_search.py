"""Searches as one types, lists of any length, addresses, and the tree."""

import re

from playwright.sync_api import expect
from serving import packages

KEYS = 100_000


def test_the_ends_of_keys_are_searched_as_one_types(console) -> None:
    page = console.open().page
    expect(console.found).to_contain_text(re.compile(r"^100,\d{3} keys in "))
    page.keyboard.press("/")
    page.keyboard.type("npm/react-")
    expect(console.found).to_contain_text("10,000 keys in")
    page.keyboard.press("Tab")
    page.keyboard.type("-native")
    expect(console.found).to_contain_text("1,000 keys in")
    row = console.row("npm/react-0000-native")
    expect(row.locator("mark.begins")).to_have_text("npm/react-")
    expect(row.locator("mark.ends")).to_have_text("-native")
    expect(page.locator("#said")).to_have_text("1,000 keys found")


def test_a_search_that_finds_nothing_says_so(console) -> None:
    console.open(prefix="no such key")
    expect(console.found).to_contain_text("0 keys")
    expect(console.page.locator("#list-empty")).to_have_text("No key begins and ends so.")


def test_the_address_holds_the_search_and_back_undoes_it(console) -> None:
    page = console.open(prefix="npm/vue-", suffix="-cli").page
    expect(page.locator("#prefix")).to_have_value("npm/vue-")
    expect(page.locator("#suffix")).to_have_value("-cli")
    expect(console.found).to_contain_text("1,000 keys")
    console.row("npm/vue-0001-cli").click()
    expect(console.value.get_by_role("heading")).to_have_text("npm/vue-0001-cli")
    assert "prefix=npm/vue-" in console.state and "key=npm/vue-0001-cli" in console.state
    page.locator("#suffix").fill("")
    expect(console.found).to_contain_text("10,000 keys")
    page.go_back()
    expect(console.found).to_contain_text("1,000 keys")
    expect(page.locator("#suffix")).to_have_value("-cli")
    page.go_back()
    expect(console.value.get_by_role("heading")).to_have_count(0)
    page.go_forward()
    expect(console.value.get_by_role("heading")).to_have_text("npm/vue-0001-cli")


def test_a_list_scrolls_on_and_back_with_few_rows_in_the_document(console) -> None:
    page = console.open(prefix="npm/").page
    place = page.locator("#place")
    expect(place).to_have_text(re.compile(r"^1–\d+ of 80,000$"))
    keys = sorted(packages())
    list_ = page.locator("#keys")
    list_.focus()
    at = 0
    while at < 2000:
        page.keyboard.press("End")
        active = page.locator("#keys .row.active")
        expect(active).not_to_have_class(re.compile("coming"))
        at = int(active.get_attribute("aria-posinset"))
        expect(active).to_have_text(keys[at - 1])
    assert console.rows.count() < 100
    # More than what is kept of pages, so that what is above is asked for anew.
    while at < 12_000:
        page.keyboard.press("End")
        expect(active).not_to_have_class(re.compile("coming"))
        at = int(active.get_attribute("aria-posinset"))
    page.keyboard.press("Home")
    expect(console.row(keys[0])).to_be_visible()
    expect(place).to_have_text(re.compile(r"^1–"))
    expect(page.locator("#keys [aria-posinset='1']")).to_have_text(keys[0])
    expect(page.locator("#keys [aria-posinset='1']")).to_have_attribute("aria-setsize", "80000")


def test_rows_are_in_order_wherever_one_scrolls(console) -> None:
    page = console.open(prefix="npm/babel-").page
    keys = sorted(key for key in packages() if key.startswith("npm/babel-"))
    expect(console.row(keys[0])).to_be_visible()
    for at in (150, 900, 700, 300, 1100):
        page.evaluate("(at) => { const keys = document.getElementById('keys'); keys.scrollTop = at * keys.querySelector('.row').offsetHeight; }", at)
        first = page.locator(f"#keys [aria-posinset='{at + 1}']")
        if first.count() == 0:
            # It was beyond what was known; now that is more.
            page.evaluate("(at) => { const keys = document.getElementById('keys'); keys.scrollTop = at * keys.querySelector('.row').offsetHeight; }", at)
        expect(page.locator("#keys .coming")).to_have_count(0)
        shown = page.evaluate("[...document.querySelectorAll('#keys [role=option]')].map((row) => [Number(row.ariaPosInSet), row.textContent])")
        assert len(shown) > 10
        assert all(keys[place - 1] == text for place, text in shown)


def test_the_keyboard_alone_goes_through_keys_and_values(console) -> None:
    page = console.open(prefix="npm/rollup-").page
    expect(console.row("npm/rollup-0000-cli")).to_be_visible()
    page.keyboard.press("k")
    page.keyboard.press("ArrowDown")
    expect(console.value.get_by_role("heading")).to_have_text("npm/rollup-0000-cli")
    page.keyboard.press("ArrowDown")
    expect(console.value.get_by_role("heading")).to_have_text("npm/rollup-0000-config")
    expect(page.locator("#keys [aria-selected=true]")).to_have_text("npm/rollup-0000-config")
    page.keyboard.press("Escape")
    expect(console.value.get_by_role("heading")).to_have_count(0)
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keyboard")
    expect(dialog).to_contain_text("search by how keys begin")
    dialog.get_by_label("Single keys do something").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("2")
    page.keyboard.press("?")
    expect(dialog).to_be_visible()
    assert "view=tree" not in console.state


def test_a_tree_shows_groups_with_exact_counts_one_click_deeper(console) -> None:
    page = console.open(view="tree").page
    expect(page.locator("#delimiter")).to_have_value("/")
    group = console.row("logs/")
    expect(group.locator(".count")).to_have_text("10,000 keys")
    share = console.row("npm/").locator(".bar").evaluate("(bar) => getComputedStyle(bar).getPropertyValue('--share')")
    assert float(share) == 1
    group.click()
    expect(page.locator("#prefix")).to_have_value("logs/")
    expect(console.row("logs/2021/").locator(".count")).to_have_text("2,500 keys")
    console.row("logs/2021/").click()
    console.row("logs/2021/07/").click()
    expect(console.found).to_contain_text("50 keys")
    expect(console.rows.first).to_have_text("logs/2021/07/02507.txt")
    expect(page.locator("#crumbs li")).to_have_text(["all", "logs/", "2021/", "07/"])
    page.locator("#crumbs").get_by_role("button", name="logs/").click()
    expect(console.row("logs/2023/")).to_be_visible()
    page.go_back()
    expect(console.found).to_contain_text("50 keys")


def test_a_tree_guesses_what_divides_keys_and_takes_another(console) -> None:
    page = console.open(view="tree", prefix="user:").page
    expect(page.locator("#delimiter")).to_have_value(":")
    expect(page.locator("#guessed")).to_be_visible()
    expect(console.row("user:00000:").locator(".count")).to_have_text("1 key")
    page.locator("#prefix").fill("npm/")
    expect(page.locator("#delimiter")).to_have_value("-")
    expect(console.row("npm/babel-").locator(".count")).to_have_text("10,000 keys")
    page.locator("#suffix").fill("-native")
    expect(console.row("npm/babel-").locator(".count")).to_have_text("1,000 keys")
    page.locator("#prefix").fill("npm/re")
    expect(page).to_have_url(re.compile("prefix=npm/re"))
    page.locator("#delimiter").fill("act")
    page.locator("#delimiter").press("Enter")
    expect(console.row("npm/react").locator(".count")).to_have_text("1,000 keys")
    expect(page).to_have_url(re.compile("delimiter=act"))
    expect(page.locator("#guessed")).to_be_hidden()
