"""Tests of proxy/core."""
