"""
`hapax top`: what a running gateway does, live in a terminal.

A client of the HTTP API with the rights of the key it is given, as the page at /ui is. `model` and what it is made of
are facts and take the time as an argument; `view` is what was pressed; `frame`, `trail` and `tables` draw; `source`
asks the gateway, `keyboard` reads keys, and `live` puts them together.
"""
