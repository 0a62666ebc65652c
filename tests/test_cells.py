"""A damaged cell is refused where its row is read, and what may be empty is not."""

from sqlite3 import DatabaseError

import pytest
from sqlalchemy import bindparam, func, select, text
from sqlalchemy.orm import aliased

import clock
import database
from database.cells import Cells
from database.statements import Statement
from models import Event, Invite, Project, User

pytestmark = pytest.mark.sqlite

BY_ID = Statement(select(Invite.__table__).where(Invite.id == bindparam("id")))
KINDS = {"made_by": "CAST('x' AS BLOB)", "name": "CAST('x' AS BLOB)", "uses": "'none'", "expires_at": "7"}


@pytest.fixture
def damaged(house, make_invite):
    """Have an invite with the id `damaged` and this in one of its cells."""

    def damage(column, cell):
        make_invite(name="Anne")
        with house.writing() as unit:
            unit.connection.execute(text("PRAGMA ignore_check_constraints = ON"))
            unit.connection.execute(text(f"UPDATE invites SET id = 'damaged', {column} = {cell}"))

    return damage


@pytest.mark.parametrize("column", KINDS)
def test_an_object_from_a_damaged_row_is_refused(house, damaged, column):
    damaged(column, KINDS[column])
    with pytest.raises(database.Unavailable), house.reading() as unit:
        unit.session.get(Invite, "damaged")


@pytest.mark.parametrize("column", KINDS)
def test_a_damaged_row_of_a_statement_is_refused(house, damaged, column):
    damaged(column, KINDS[column])
    with pytest.raises(database.Unavailable), house.reading():
        BY_ID.first(id="damaged")


def test_the_operator_is_told_where_the_damage_is_and_what_to_do(house, damaged):
    damaged("made_by", "CAST('a secret' AS BLOB)")
    with pytest.raises(database.Unavailable, match=r"invites\.made_by: a cell is empty") as told, house.reading():
        BY_ID.first(id="damaged")
    assert "secret" not in str(told.value)
    assert house.trouble(told.value) == "the file is damaged: run invite-api db check, and go back to a backup"


def test_an_object_that_is_read_again_is_looked_at_again(house, damaged):
    damaged("note", "NULL")
    with pytest.raises(database.Unavailable), house.writing() as unit:
        invite = unit.session.get(Invite, "damaged")
        unit.connection.execute(text("UPDATE invites SET note = CAST('x' AS BLOB)"))
        unit.session.refresh(invite)


def test_what_must_not_be_empty_may_be_so_where_a_row_is_missing():
    inviter = aliased(User)
    columns = select(Invite.id, Project.name, inviter.created_at, func.max(Event.at))
    left = columns.outerjoin(Project, Project.id == Invite.project_id).outerjoin(inviter, inviter.id == Invite.maker_id)
    Cells(left).check(("id", None, None, None))
    with pytest.raises(DatabaseError, match=r"invites\.id"):
        Cells(left).check((None, None, None, None))
    inner = select(Invite.id, Project.name).join(Project, Project.id == Invite.project_id)
    with pytest.raises(DatabaseError, match=r"projects\.name"):
        Cells(inner).check(("id", None))


def test_a_row_of_another_kind_is_refused_after_a_sound_one():
    cells = Cells(select(Invite.id, Invite.created_at, Invite.expires_at))
    sound = ("id", clock.now(), None)
    assert cells.checked([sound]) == [sound]
    with pytest.raises(DatabaseError, match="expires_at"):
        cells.checked([sound, ("id", clock.now(), "soon")])
