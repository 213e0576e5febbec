"""How work is spread over Ray."""
