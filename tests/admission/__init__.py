"""Tests of proxy/admission."""
