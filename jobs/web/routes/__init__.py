"""What can be asked for, one module a page; each asks a room below and renders what it says."""
