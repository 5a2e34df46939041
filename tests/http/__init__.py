"""Tests of proxy/http."""
