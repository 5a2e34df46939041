"""Tests of proxy/api."""
