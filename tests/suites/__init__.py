"""
The SDKs' own generated tests, run without and with the gateway between them and a mock: `make suites`.

A test of pytest's here is of the comparison alone; the suites take minutes and packages that nothing else needs.
"""
