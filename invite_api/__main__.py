"""`python -m invite_api`: the same as `invite-api`."""

from invite_api import main

main()
