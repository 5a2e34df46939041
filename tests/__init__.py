"""The tests, which mirror the rooms of `proxy`; `rigs` is what they share."""
