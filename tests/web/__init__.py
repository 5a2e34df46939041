"""Tests of proxy/web."""
