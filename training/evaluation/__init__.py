"""What shows that a method learned."""
