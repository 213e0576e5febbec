"""The pocket backbone and its hypernetwork: small models of the real classes that this project trains."""
