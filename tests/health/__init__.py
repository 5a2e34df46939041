"""Tests of proxy/health."""
