"""Tests of proxy/process."""
