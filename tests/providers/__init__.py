"""Tests of proxy/providers."""
