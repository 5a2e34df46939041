"""Long proofs of what is promised about keys, limits and usage; tests/spec runs the same in short.

`make soak` runs them all. The machines (a mixture of calls, a steady load, a look at the books) stand beside the tests.
"""
