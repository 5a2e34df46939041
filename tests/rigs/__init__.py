"""Real programs the tests stand next to the gateway: llama.cpp, Node, curl, Chromium.

Each rig starts what it needs on loopback, says where it is, and ends only the process it started.
"""
