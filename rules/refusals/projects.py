"""Projects and their members: what may be refused."""

from rules.refusals.base import N_, Refusal


class ProjectNotFound(Refusal):
    """No project has this slug."""

    code = "PROJECT_NOT_FOUND"
    sentence = N_("There is no such project.")


class MemberNotFound(Refusal):
    """No member of this project has this id."""

    code = "MEMBER_NOT_FOUND"
    sentence = N_("There is no such member in this project.")


class NotProjectMember(Refusal):
    """Only members of the project may do this."""

    code = "NOT_PROJECT_MEMBER"
    sentence = N_("Only members of this project may do this.")


class NotAllowed(Refusal):
    """The member's role in the project does not allow this."""

    code = "NOT_ALLOWED"
    sentence = N_("Your role in this project does not allow this. Ask its owner.")
