"""What the dialects take and answer, as types: a module for each, and the values that they have in common.

A view names in its signature which of them it takes and answers. web/contract.py reads what comes in by
them, mypy holds the answers to them, and web/openapi.py describes them.
"""
