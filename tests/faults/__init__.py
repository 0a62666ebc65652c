"""What can happen to a service, done to the real one, again and again: see docs/ROBUSTNESS.md.

A module for each kind of fault. Beside each harness stands its control: something that is wrong on
purpose, which the same harness must catch.
"""
