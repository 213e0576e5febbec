"""One module a method; what every method shares lives one level up."""
