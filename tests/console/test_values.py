"""What is shown of a value, and what can be done with it."""

import re
import struct
import subprocess
import zlib
from urllib.parse import quote

from playwright.sync_api import expect

PICTURE_WIDTH = 5


def png() -> bytes:
    """A small image."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + b"\x10\x80\x80" * PICTURE_WIDTH) * 3
    head = struct.pack(">IIBBBBB", PICTURE_WIDTH, 3, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def fact(console, name: str):
    return console.value.locator(".facts > div").filter(has=console.page.locator("dt", has_text=re.compile(f"^{name}$"))).locator("dd")


def test_json_is_shown_as_it_is_stored_and_folds(console) -> None:
    text = '{"big":12345678901234567890,"small":1e400,"twice":1,"twice":2,"inner":{"list":[1,[],{}]}}'
    tag = console.server.put("values/json", text.encode(), "application/json")
    console.open(key="values/json")
    tree = console.value.locator(".json")
    for part in ("12345678901234567890", "1e400"):
        expect(tree).to_contain_text(part)
    expect(tree.locator(".name", has_text='"twice"')).to_have_count(2)
    expect(fact(console, "Type")).to_have_text("application/json")
    expect(fact(console, "Size")).to_have_text(f"{len(text)} B")
    expect(fact(console, "ETag")).to_have_text(tag)
    expect(fact(console, "Ends")).to_have_text("never")
    inner = tree.locator("summary", has_text='"inner"')
    list_ = tree.locator("summary", has_text='"list"')
    expect(list_).to_be_visible()
    inner.click()
    expect(list_).to_be_hidden()
    expect(inner).to_contain_text("1 member")
    console.button("Unfold all").click()
    expect(list_).to_be_visible()
    console.button("Fold all").click()
    expect(list_).to_be_hidden()


def test_what_is_no_json_is_shown_as_text_and_says_where(console) -> None:
    console.server.put("values/broken", b'{"a": 1,\n "b": }', "application/json")
    console.open(key="values/broken")
    expect(console.value).to_contain_text('it is none: line 2, column 7: there is "}" where a value is expected')
    expect(console.value.locator("pre.text")).to_contain_text('"b": }')


def test_images_texts_and_bytes_are_shown_as_what_they_are(console) -> None:
    console.server.put("values/image", png(), "image/png")
    console.server.put("values/text", "one\ntwo ‮three\n".encode(), "text/plain; charset=utf-8")
    console.server.put("values/bytes", bytes(range(256)), "application/octet-stream")
    console.open(key="values/image")
    image = console.page.get_by_role("img", name="The image under values/image")
    expect(image).to_be_visible()
    expect(console.value).to_contain_text(f"image/png, {PICTURE_WIDTH} × 3")
    console.value.get_by_role("radio", name="Hex").check()
    expect(console.value.locator("pre.hex")).to_contain_text("00000000  89 50 4e 47")
    console.open(key="values/text")
    expect(console.value.locator("pre.text")).to_have_text("one\ntwo [U+202E]three\n")
    console.open(key="values/bytes")
    expect(console.value.locator("pre.hex")).to_contain_text("00000040  40 41 42 43 44 45 46 47 48 49 4a 4b 4c 4d 4e 4f  @ABCDEFGHIJKLMNO")
    expect(console.value.get_by_role("radio")).to_have_count(1)


def test_a_long_value_is_shown_in_parts(console) -> None:
    console.server.put("values/long", b"x" * 500_000)
    console.open(key="values/long")
    more = console.button("Show more: 300,000 are left")
    more.click()
    expect(console.button("Show more: 100,000 are left")).to_be_visible()
    expect(console.value.locator("pre.text")).to_have_count(2)


def test_the_time_that_is_left_counts_down_to_its_end(console) -> None:
    console.server.put("values/hour", b"1", query="?ttl_ms=3600000")
    console.server.put("values/short", b"1", query="?ttl_ms=2500")
    console.open(key="values/short")
    expect(fact(console, "Ends")).to_have_text(re.compile(r"in [123] s"))
    expect(console.value).to_contain_text("Its time is over")
    expect(fact(console, "Ends")).to_have_text("now")
    console.open(key="values/hour")
    left = fact(console, "Ends")
    expect(left).to_have_text(re.compile(r"in 59 min \d+ s"))
    seen = left.text_content()
    expect(left).not_to_have_text(seen)


def test_a_key_that_is_not_there_says_so_and_can_be_made(console) -> None:
    page = console.open(key="values/none").page
    expect(console.value.get_by_role("alert")).to_contain_text("the key names no value; set it with")
    console.button("Create it").click()
    expect(page.get_by_label("Key", exact=True)).to_have_value("values/none")
    page.get_by_label("Value", exact=True).fill('{"made": true}')
    console.button("Make it").click()
    expect(console.value.locator(".json")).to_contain_text('"made": true')
    assert console.server.get("values/none")[1] == b'{"made": true}'


def test_an_edit_holds_for_what_was_seen_and_a_conflict_shows_both_sides(console) -> None:
    server = console.server
    server.put("values/edit", b'{"n": 1}', "application/json")
    page = console.open(key="values/edit").page
    console.button("Edit").click()
    field = page.get_by_label("Value", exact=True)
    field.fill('{"n": }')
    expect(console.value).to_contain_text("No JSON yet: line 1, column 7")
    console.button("Save").click()
    expect(console.value.get_by_role("alert")).to_contain_text("It is no JSON")
    field.fill('{"n": 2}')
    field.press("Control+Enter")
    expect(console.notices).to_contain_text("Saved")
    assert server.get("values/edit")[1] == b'{"n": 2}'
    console.button("Edit").click()
    server.put("values/edit", b'{"n": 3}', "application/json")
    field.fill('{"n": 4}')
    console.button("Save").click()
    expect(console.value.get_by_role("alert")).to_contain_text("Somebody has changed it meanwhile")
    expect(page.get_by_label("What is there now").first).to_contain_text('{"n": 3}')
    expect(field).to_have_value('{"n": 4}')
    assert server.get("values/edit")[1] == b'{"n": 3}'
    console.button("Save mine over it").click()
    expect(console.value.locator(".json")).to_contain_text("4")
    assert server.get("values/edit")[1] == b'{"n": 4}'
    console.button("Edit").click()
    server.delete("values/edit")
    console.button("Save").click()
    expect(console.value.get_by_role("alert")).to_contain_text("It was deleted meanwhile")
    console.button("Make it again").click()
    expect(console.value.locator(".json")).to_contain_text("4")
    assert server.get("values/edit")[1] == b'{"n": 4}'


def test_an_edit_keeps_line_ends_type_and_deadline(console) -> None:
    server = console.server
    server.put("values/lines", b"one\r\ntwo\r\n", "text/x-lines", query="?ttl_ms=3600000")
    ends = server.get("values/lines")[2]["x-expires-at"]
    page = console.open(key="values/lines").page
    console.button("Edit").click()
    page.get_by_label("Value", exact=True).press_sequentially("zero\n")
    console.button("Save").click()
    expect(console.notices).to_contain_text("Saved")
    kind, body, headers = server.get("values/lines")
    assert (kind, headers["x-expires-at"]) == ("text/x-lines", ends)
    assert body in (b"zero\r\none\r\ntwo\r\n", b"one\r\ntwo\r\nzero\r\n")
    server.put("values/mixed", b"one\r\ntwo\n")
    console.open(key="values/mixed")
    console.button("Edit").click()
    expect(console.value).to_contain_text("Its lines end in different ways")
    page.get_by_label("From a file").set_input_files({"name": "bytes.bin", "mimeType": "application/x-own", "buffer": bytes(range(256))})
    console.button("Save").click()
    expect(fact(console, "Type")).to_have_text("application/x-own")
    assert server.get("values/mixed")[:2] == ("application/x-own", bytes(range(256)))


def test_a_new_key_takes_the_place_of_none(console) -> None:
    server = console.server
    server.put("values/taken", b"mine")
    page = console.open(prefix="values/ta").page
    expect(console.found).to_contain_text("1 key")
    page.keyboard.press("n")
    page.get_by_label("Key", exact=True).fill("values/taken")
    page.get_by_label("Type", exact=True).fill("text/plain")
    page.get_by_label("Value", exact=True).fill("theirs")
    console.button("Make it").click()
    expect(console.value.get_by_role("alert")).to_contain_text("There is such a key already")
    assert server.get("values/taken")[1] == b"mine"
    page.get_by_label("Key", exact=True).fill("values/ta\\u{a}new")
    page.get_by_label("It ends").select_option("after")
    console.button("Make it").click()
    expect(console.notices).to_contain_text("Made")
    kind, body, headers = server.get("values/ta\nnew")
    assert (kind, body) == ("text/plain", b"theirs") and headers["x-expires-at"]
    expect(console.found).to_contain_text("2 keys")


def test_a_delete_can_be_undone_with_type_and_deadline(console) -> None:
    server = console.server
    body = bytes(range(256))
    server.put("values/undo", body, "image/x-own", query="?ttl_ms=3600000")
    ends = server.get("values/undo")[2]["x-expires-at"]
    page = console.open(prefix="values/undo", key="values/undo").page
    console.button("Delete").click()
    expect(console.found).to_contain_text("0 keys")
    assert server.get("values/undo") is None
    console.notices.get_by_role("button", name="Undo").click()
    expect(console.notices).to_contain_text("is back as it was")
    expect(console.found).to_contain_text("1 key")
    kind, stored, headers = server.get("values/undo")
    assert (kind, stored, headers["x-expires-at"]) == ("image/x-own", body, ends)
    expect(console.value.get_by_role("heading")).to_have_text("values/undo")
    # What came in its place is not overwritten.
    page.keyboard.press("d")
    expect(console.notices).to_contain_text("Deleted values/undo")
    server.put("values/undo", b"another")
    page.keyboard.press("u")
    expect(console.notices).to_contain_text("There is another value under values/undo by now, which stays")
    assert server.get("values/undo")[1] == b"another"


def test_a_delete_takes_nothing_that_came_meanwhile(console) -> None:
    console.server.put("values/race", b"seen")
    console.open(key="values/race")
    expect(console.value.locator("pre.text")).to_have_text("seen")
    console.server.put("values/race", b"newer")
    console.button("Delete").click()
    expect(console.notices).to_contain_text("it was not deleted")
    expect(console.value.locator("pre.text")).to_have_text("newer")
    assert console.server.get("values/race")[1] == b"newer"


def test_a_deadline_is_set_and_taken_away(console) -> None:
    tag = console.server.put("values/deadline", b"1")
    page = console.open(key="values/deadline").page
    expect(fact(console, "Ends")).to_have_text("never")
    page.keyboard.press("x")
    dialog = page.get_by_role("dialog", name="When it ends")
    dialog.get_by_label("How many").fill("0")
    dialog.get_by_role("button", name="Set").click()
    expect(dialog.get_by_label("How many")).to_be_visible()
    dialog.get_by_label("How many").fill("2")
    dialog.get_by_label("Unit").select_option("days")
    dialog.get_by_role("button", name="Set").click()
    expect(fact(console, "Ends")).to_have_text("in 1 d 23 h")
    expect(fact(console, "ETag")).to_have_text(tag)
    page.keyboard.press("x")
    dialog.get_by_label("It ends").select_option("never")
    dialog.get_by_role("button", name="Set").click()
    expect(fact(console, "Ends")).to_have_text("never")
    assert console.server.get("values/deadline")[2]["x-expires-at"] is None


def test_curl_commands_do_what_they_say_whatever_the_key(console) -> None:
    key = "values/it's $(id) `id` \"%\\!*\n[1-3]{a,b}/../é"
    tag = console.server.put(key, b"value", "text/x-it's")
    page = console.open(key=key).page
    page.keyboard.press("c")
    dialog = page.get_by_role("dialog", name="As curl")
    commands = {name: dialog.get_by_label(name, exact=True).input_value() for name in ("Read", "Write, if nobody has changed it", "Delete")}

    def run(command: str) -> str:
        return subprocess.run(["bash", "-c", command.replace("curl ", "curl -sS ", 1)], check=True, capture_output=True, text=True, timeout=30).stdout

    assert run(commands["Read"]) == "value"
    write = commands["Write, if nobody has changed it"]
    assert tag in write
    assert '"created":false' in run(write.replace("@FILE", "new"))
    assert console.server.get(key)[:2] == ("text/x-it's", b"new")
    assert '"code":"precondition_failed"' in run(write.replace("@FILE", "newer"))
    run(commands["Delete"])
    assert console.server.get(key) is None
    assert quote(key, safe="/") in commands["Read"] or "%2F" in commands["Read"]


def test_a_filter_is_deleted_once_its_number_is_typed(console) -> None:
    server = console.server
    server.set_all({"key": f"doomed/{at:03}.{'tmp' if at % 2 else 'keep'}", "value": at} for at in range(250))
    page = console.open(prefix="doomed/", suffix=".tmp").page
    expect(console.found).to_contain_text("125 keys")
    page.get_by_role("button", name="Delete…").click()
    dialog = page.get_by_role("dialog", name="Delete all that match")
    expect(dialog).to_contain_text("keys that begin with doomed/ and end with .tmp")
    expect(dialog.locator("strong.large")).to_have_text("125")
    press = dialog.get_by_role("button", name="Delete them")
    field = dialog.get_by_label("Type the number to delete them")
    for typed in ("", "12", "1250", "yes"):
        field.fill(typed)
        expect(press).to_be_disabled()
    field.fill("125")
    press.click()
    expect(console.notices).to_contain_text("Deleted 125 keys")
    expect(console.found).to_contain_text("0 keys")
    page.locator("#suffix").fill("")
    expect(console.found).to_contain_text("125 keys")
