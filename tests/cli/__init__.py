"""Tests of proxy/cli."""
