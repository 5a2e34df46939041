"""Tests of proxy/upstream."""
