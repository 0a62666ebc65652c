"""Many invites at once: files of guests as spreadsheets write them, and what comes out as a table again."""

import csv
import io
import json
import subprocess

import pytest

import clock
from conftest import COMMAND, naming
from rules import drafts, guests
from rules.guests import Batch
from rules.refusals import Invalid

LIST = "name,email,note\nAnne,anne@example.org,choir\n李小龙,bruce@example.org,\n"
ROWS = [
    {"name": "Anne", "email": "anne@example.org", "note": "choir"},
    {"name": "李小龙", "email": "bruce@example.org", "note": ""},
]


@pytest.fixture
def guest_list(tmp_path):
    """A file of guests; what it holds is text, or bytes as some program wrote them."""

    def write(held=LIST):
        path = tmp_path / "guests.csv"
        path.write_bytes(held if isinstance(held, bytes) else held.encode())
        return str(path)

    return write


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(LIST.encode(), id="plain"),
        pytest.param(LIST.encode("utf-8-sig"), id="Excel's CSV UTF-8"),
        pytest.param(LIST.replace(",", ";").replace("\n", "\r\n").encode("utf-8-sig"), id="where commas are decimal"),
        pytest.param(LIST.replace(",", "\t").encode("utf-16"), id="Excel's Unicode text"),
        pytest.param(("sep=;\r\n" + LIST.replace(",", ";")).encode(), id="with Excel's hint"),
        pytest.param(LIST.replace("Anne", '"Anne"').encode(), id="quoted"),
        pytest.param(LIST.replace("\n", "\r").encode(), id="an old Mac's"),
        pytest.param(LIST.replace(",", ", ").replace("name", " Name ").encode(), id="with spaces"),
        pytest.param(LIST.rstrip("\n").encode(), id="without a last line break"),
        pytest.param((LIST + "\n,,\n\n").encode(), id="with empty rows"),
        pytest.param(LIST.replace("note", "NOTE").replace("choir", "choir,,").encode(), id="with empty cells beyond"),
    ],
)
def test_a_guest_list_is_read_however_it_was_written(raw):
    assert [each.given for each in guests.read(raw)] == ROWS


@pytest.mark.parametrize("heading", ["redirect_url", "redirect-url", "Redirect URL", "REDIRECT  URL"])
def test_columns_are_the_options_however_they_are_written(heading):
    (row,) = guests.read(f"{heading}\nhttps://app.example.org/\n".encode())
    assert row.given == {"redirect_url": "https://app.example.org/"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; its first line names the columns: name, email, "),
        ("name,emial\n", "line 1, column emial: there is no such column; did you mean email?"),
        ("name,shoe size\n", "line 1, column shoe size: there is no such column; there are name, email, "),
        ("anne@example.org,Anne\n", "line 1, column anne@example.org: there is no such column; there are name, "),
        ("name,Name\nA,B\n", "line 1, column Name: is there twice"),
        ("name,email\n", "has 0 rows below its header; 1 to 10000 can be created at once"),
        ("name\n" + "Anne\n" * 10_001, "has 10001 rows below its header"),
        ('name\nAnne\n"Bob\n', "line 3: cannot be read as CSV: unexpected end of data"),
        ("name\nAnne\n" + "x" * 200_000 + "\n", "line 3: cannot be read as CSV: field larger than field limit"),
        ("name\nJosé\n".encode("latin-1"), "line 2: is not UTF-8; save the file as CSV UTF-8"),
        (b"\xff\xfex", "line 1: is not UTF-8"),
        (b"\x00\xff\x00", "line 1: is not UTF-8"),
        ("\0\0", "there is no such column"),
        ("name\u2028email\n", "there is no such column"),
    ],
)
def test_a_file_that_is_no_guest_list_is_refused_by_its_line(text, message):
    with pytest.raises(Invalid) as refused:
        guests.read(text.encode() if isinstance(text, str) else text)
    assert message in refused.value.problems[0].message


def test_a_row_is_named_by_the_line_where_it_begins():
    rows = guests.read(b'sep=,\nname,note\n\nAnne,"of two\nlines"\nBob,x\n')
    assert [each.line for each in rows] == [4, 6]


def test_wrong_cells_are_found_in_every_row(house):
    rows = guests.read(b"name,email,ttl\nAnne,anne@example.org,3d\n<b>,x,soon\nBob,,,more\n")
    with house.reading():
        checked = list(Batch({}, drafts.SHELL).prepare(rows))
    assert [invite is not None for _, invite, _ in checked] == [True, False, False]
    assert [[each.field for each in problems] for _, _, problems in checked] == [[], ["name", "email", "ttl"], [""]]


def test_a_guest_list_makes_an_invite_for_each_row_in_their_order(invite_api, guest_list):
    done = invite_api("invite", "create", "--from", guest_list(), "--ttl", "3d", "--note", "tea")
    assert done.returncode == 0
    shown = [json.loads(invite_api("invite", "show", link, "--json").stdout) for link in done.stdout.splitlines()]
    assert [(each["name"], each["note"]) for each in shown] == [("Anne", "choir"), ("李小龙", "tea")]
    assert [f"created {each['id']} {each['name']} {each['email']}" in done.stderr for each in shown] == [True, True]
    assert ": created " in done.stderr.splitlines()[0].partition("guests.csv, line 2")[2]


def test_one_wrong_row_and_nothing_is_made(invite_api, guest_list):
    path = guest_list(LIST + "Bob,bob@,\n<b>,eve@example.org,\n")
    done = invite_api("invite", "create", "--from", path)
    assert (done.returncode, done.stdout) == (1, "")
    lines = done.stderr.splitlines()
    assert lines[0].startswith(f"{path}, line 4, column email: is not a valid address")
    assert lines[1].startswith(f"{path}, line 5, column name: may not have < (U+003C)")
    assert lines[2] == "Error: nothing was created: 2 of 4 rows are wrong; --keep-going creates the others"
    assert invite_api("invite", "list").stdout == ""


@pytest.mark.long
def test_to_keep_going_makes_the_good_rows_and_leaves_a_line_for_each_other(invite_api, guest_list):
    done = invite_api(
        "invite",
        "create",
        "--keep-going",
        "--from",
        guest_list("Name,Email\n<b>,\nAnne,\nBob,x\nDora,\n"),
    )
    assert done.returncode == 1
    links = done.stdout.split("\n")
    assert [bool(each) for each in links] == [False, True, False, True, False]
    assert json.loads(invite_api("invite", "show", links[3], "--json").stdout)["name"] == "Dora"
    assert ", line 2, column Name: " in done.stderr
    assert done.stderr.endswith("Error: 2 of 4 rows are wrong; 2 invites were created\n")


@pytest.mark.long
def test_a_dry_run_makes_nothing(invite_api, guest_list):
    done = invite_api("invite", "create", "--dry-run", "--from", guest_list())
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "Note: all 2 rows are good; nothing was created\n"
    wrong = invite_api("invite", "create", "--dry-run", "--keep-going", "--from", guest_list(LIST + "<b>,,\n"))
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert invite_api("invite", "list").stdout == ""


@pytest.mark.long
@pytest.mark.parametrize(
    ("options", "rows", "message"),
    [
        (["--project", "nowhere"], "name\nAnne\n", "line 2, column project: names no project: nowhere"),
        ([], "name,role\nAnne,admin\n", "line 2, column role: can be admin only of a project"),
        (["--mail"], "name,email\nAnne,\n", "line 2, column email: is needed for an invite to be mailed"),
        (["--admin"], "name,uses\nAnne,5\n", "line 2, column uses: must be 1 for an invite that makes an admin"),
        ([], "name,uses\nAnne,0\n", "line 2, column uses: must be a whole number"),
        ([], "name\n100%s\n", "line 2, column name: "),
        ([], "name\n\x1b[31m\n", "line 2, column name: has a line break, or another character that"),
    ],
)
def test_what_only_the_house_knows_to_be_wrong_is_named_by_line_too(invite_api, guest_list, options, rows, message):
    done = invite_api("invite", "create", "--from", guest_list(rows), *options)
    assert (done.returncode, done.stdout) == (1, "")
    assert message in done.stderr
    assert "\x1b" not in done.stderr


@pytest.mark.long
def test_guests_are_mailed_if_that_is_wanted(invite_api, guest_list):
    assert invite_api("invite", "create", "--from", guest_list(), "--mail").returncode == 0
    waiting = {line.split("\t")[3] for line in invite_api("outbox", "list").stdout.splitlines()}
    assert waiting == {"anne@example.org", "bruce@example.org"}
    assert invite_api("invite", "create", "--email", "dora@example.org", "--no-mail").returncode == 0
    assert len(invite_api("outbox", "list").stdout.splitlines()) == 2


def test_a_guest_list_may_come_from_stdin(invite_api, tmp_path):
    environ = naming(tmp_path / "instance") | {"PATH": ""}
    call = [COMMAND, "invite", "create", "--from", "-"]
    done = subprocess.run(call, input=LIST, capture_output=True, text=True, env=environ, check=True)
    assert done.stdout.count("\n") == 2
    assert done.stderr.startswith("<stdin>, line 2: created ")


@pytest.mark.long
@pytest.mark.parametrize(
    "arguments",
    [
        ["--count", "2", "--from", "guests.csv"],
        ["--dry-run"],
        ["--keep-going"],
        ["--from", "nowhere.csv"],
        ["--count", "0"],
        ["--count", "10001"],
    ],
)
def test_what_does_not_go_together_is_wrong_usage(invite_api, guest_list, arguments):
    guest_list()
    assert invite_api("invite", "create", *arguments).returncode == 2


@pytest.mark.long
def test_many_alike_differ_in_their_links(invite_api):
    links = invite_api("invite", "create", "--count", "5", "--uses", "2", "--name", "Anne").stdout.split()
    assert len(set(links)) == 5
    assert invite_api("invite", "create", "--count", "5", "--ttl", "soon").stderr.startswith("Error: --ttl: ")
    assert len(invite_api("invite", "list").stdout.splitlines()) == 5


@pytest.mark.long
def test_ten_thousand_guests_come_at_once(invite_api, guest_list):
    path = guest_list("name,email\n" + "".join(f"Anne,guest{number}@example.org\n" for number in range(10_000)))
    done = invite_api("invite", "create", "--from", path)
    assert done.returncode == 0
    assert len(set(done.stdout.splitlines())) == 10_000
    exported = invite_api("invite", "export", "--format", "jsonl", "--with-links").stdout.splitlines()
    assert {json.loads(each)["link"] for each in exported} == set(done.stdout.splitlines())


@pytest.fixture
def exported(invite_api):
    """The rows of an export, by its headings."""

    def read(*options):
        printed = invite_api("invite", "export", *options)
        assert (printed.returncode, printed.stderr) == (0, "")
        return list(csv.DictReader(io.StringIO(printed.stdout)))

    return read


@pytest.mark.long
def test_an_export_has_everything_but_links_and_those_if_asked_for(invite_api, exported):
    link = invite_api("invite", "create", "--name", "Anne", "--note", 'says "hi", often').stdout.strip()
    (row,) = exported()
    assert (row["name"], row["note"], row["state"], row["made_by"]) == ("Anne", 'says "hi", often', "active", "shell")
    assert "link" not in row
    assert link.partition("?")[2] not in invite_api("invite", "export", "--format", "jsonl").stdout
    assert exported("--with-links")[0]["link"] == link
    line = json.loads(invite_api("invite", "export", "--format", "jsonl", "--with-links").stdout)
    assert {name: "" if value in (None, []) else str(value) for name, value in line.items()} == exported(
        "--with-links"
    )[0]


@pytest.mark.long
def test_an_export_can_be_filtered_and_may_be_empty(invite_api, exported):
    for name in ("Anne", "Bob"):
        invite_api("invite", "create", "--name", name)
    assert [each["name"] for each in exported("--text", "ann")] == ["Anne"]
    assert exported("--state", "used") == []
    assert invite_api("invite", "export", "--state", "used", "--format", "jsonl").stdout == ""


@pytest.mark.long
@pytest.mark.parametrize(
    "cell",
    ["=1+1", "+1", "-1", "@SUM(A1)", '=HYPERLINK("http://evil")', " =1", "＝1+1", "\t=1", "\r=1", "|cmd", "%0A=1"],
)
def test_an_export_gives_spreadsheets_nothing_to_calculate(invite_api, exported, meddle, cell):
    invite_api("invite", "create", "--note", "plain")
    meddle("UPDATE invites SET note = :cell, name = :cell, made_by = :cell", cell=cell)
    (row,) = exported()
    for name in ("note", "name", "made_by"):
        assert row[name].lstrip()[0] not in "=+-@＝＋－＠\t\r"


def test_an_export_is_streamed(house, settings, fill, monkeypatch):
    from commands import exporting
    from rules.listing import Filter

    monkeypatch.setattr(exporting, "CHUNK", 10)
    fill(25)
    found = exporting.lines(house, Filter(), "csv", True)
    assert next(found).startswith("id,name,")
    fill(1)  # whoever writes meanwhile does not wait
    assert len(list(found)) == 25


@pytest.mark.long
def test_a_link_whose_secret_is_gone_is_left_empty(invite_api):
    invite_api("invite", "create", "--name", "Anne")
    line = invite_api("invite", "export", "--with-links", "--format", "jsonl", SECRET_KEY="x" * 32).stdout
    assert json.loads(line)["link"] is None


@pytest.mark.long
def test_commands_and_a_server_at_once_never_meet_a_lock(serve, key, guest_list):
    served = serve()
    path = guest_list("name\n" + "Anne\n" * 3000)
    calls = [["invite", "create", "--from", path], ["invite", "create", "--count", "3000"], ["create", "ci"]]
    running = [
        subprocess.Popen(
            [COMMAND, *each], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=served.environ
        )
        for each in calls * 2
    ]
    made, until = 0, clock.ticks() + 60
    while any(each.poll() is None for each in running[2::3]) or made < 50:
        answer = served.get(f"/invites_api?key={key}", "POST")
        assert answer.status == 201, answer.body
        made += 1
        assert clock.ticks() < until
    for each in running:
        _, said = each.communicate(timeout=60)
        assert each.returncode == 0, said
        assert "locked" not in said
    assert len(served.run("invite", "list", "--limit", "100000").splitlines()) == 12_000 + made
    assert served.run("db", "check") == "ok"
