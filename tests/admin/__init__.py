"""Tests of proxy/admin."""
