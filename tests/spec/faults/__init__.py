"""
The fault catalogue: every way a provider, a network or a client can fail, and what the gateway makes of it.

`catalogue` is the table. The tests are made from it, and so is docs/faults.md (`python -m tests.spec.faults`).
"""
