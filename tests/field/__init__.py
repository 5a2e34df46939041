"""What real providers, clients and operators send, as literal bytes, and what right looks like."""
