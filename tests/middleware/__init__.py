"""Tests of proxy/middleware."""
